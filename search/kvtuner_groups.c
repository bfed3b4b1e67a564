/* kvtuner_groups.c - pairs worth having, and layers that are alike (kvtuner.h). */
#include "kvtuner.h"
#include "dbscan.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PAIRS = 4096 };

typedef struct grouping {
    const kvtuner_layers *in;
    kvtuner_groups *out;
    uint16_t *n_pairs;      /* [n_layers] */
    uint16_t *pairs;        /* [n_layers][n_pairs] */
    uint32_t *members;      /* [n_layers] of one candidate set */
    uint32_t *label, *work; /* [n_layers], [2 n_layers] of dbscan() */
    double *points;         /* [n_layers][n_pairs] */
} grouping;

static const double *errors_of(const grouping *g, uint32_t layer)
{
    return g->in->error + (size_t)layer * g->in->n_pairs;
}

static uint16_t *pairs_of(const grouping *g, uint32_t layer)
{
    return g->pairs + (size_t)layer * g->in->n_pairs;
}

static bool dominated(const grouping *g, uint32_t layer, uint32_t a)
{
    const double *error = errors_of(g, layer);
    const uint64_t *bytes = g->in->bytes;
    for (uint32_t b = 0; b < g->in->n_pairs; b++) {
        if (bytes[b] > bytes[a] || error[b] > error[a]) continue;
        if (bytes[b] < bytes[a] || error[b] < error[a] || b < a) return true;
    }
    return false;
}

/* The pairs that no other dominates, by rising bytes. */
static void prune(grouping *g, uint32_t layer)
{
    uint16_t *list = pairs_of(g, layer), n = 0;
    for (uint32_t p = 0; p < g->in->n_pairs; p++) {
        if (dominated(g, layer, p)) continue;
        uint16_t at = n++;
        for (; at > 0 && g->in->bytes[list[at - 1]] > g->in->bytes[p]; at--) list[at] = list[at - 1];
        list[at] = (uint16_t)p;
    }
    g->n_pairs[layer] = n;
}

static bool same_pairs(const grouping *g, uint32_t a, uint32_t b)
{
    return g->n_pairs[a] == g->n_pairs[b] &&
           memcmp(pairs_of(g, a), pairs_of(g, b), g->n_pairs[a] * sizeof *g->pairs) == 0;
}

/* The layers, from `first` on, that have its pairs: clusters and noise become groups. */
static void cluster(grouping *g, uint32_t first, double eps, uint32_t min_samples)
{
    uint32_t n = 0, dims = g->n_pairs[first];
    for (uint32_t l = first; l < g->in->n_layers; l++) {
        if (!same_pairs(g, first, l)) continue;
        for (uint32_t d = 0; d < dims; d++) g->points[(size_t)n * dims + d] = errors_of(g, l)[pairs_of(g, l)[d]];
        g->members[n++] = l;
    }
    dbscan(g->points, n, dims, eps, min_samples, g->label, g->work);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t like = 0; /* an earlier member of the same cluster */
        while (like < i && (g->label[like] != g->label[i] || g->label[i] == DBSCAN_NOISE)) like++;
        g->out->of[g->members[i]] = like < i ? g->out->of[g->members[like]] : g->out->n++;
        g->out->n_noise += g->label[i] == DBSCAN_NOISE;
    }
}

/* Groups in the order of their first layers, with these layers' pairs. */
static void renumber(grouping *g)
{
    kvtuner_groups *out = g->out;
    uint32_t n = 0, *number = g->label;
    for (uint32_t i = 0; i < out->n; i++) number[i] = UINT32_MAX;
    for (uint32_t l = 0; l < g->in->n_layers; l++) {
        uint32_t *of = &out->of[l];
        if (number[*of] == UINT32_MAX) {
            out->n_pairs[n] = g->n_pairs[l];
            memcpy(out->pairs + (size_t)n * g->in->n_pairs, pairs_of(g, l), g->n_pairs[l] * sizeof *out->pairs);
            number[*of] = n++;
        }
        *of = number[*of];
    }
}

static search_status check(const kvtuner_layers *in)
{
    if (in->n_layers == 0 || in->n_pairs == 0 || in->n_pairs > MAX_PAIRS) return SEARCH_INVALID;
    for (size_t i = 0; i < (size_t)in->n_layers * in->n_pairs; i++)
        if (!isfinite(in->error[i])) return SEARCH_INVALID;
    return SEARCH_OK;
}

static bool allocate(grouping *g)
{
    size_t n = g->in->n_layers, cells = n * g->in->n_pairs;
    kvtuner_groups *out = g->out;
    out->of = malloc(n * sizeof *out->of);
    out->n_pairs = calloc(n, sizeof *out->n_pairs);
    out->pairs = calloc(cells, sizeof *out->pairs);
    g->n_pairs = malloc(n * sizeof *g->n_pairs);
    g->pairs = calloc(cells, sizeof *g->pairs);
    g->members = malloc(n * sizeof *g->members);
    g->label = malloc(n * sizeof *g->label);
    g->work = malloc(2 * n * sizeof *g->work);
    g->points = malloc(cells * sizeof *g->points);
    return out->of && out->n_pairs && out->pairs && g->n_pairs && g->pairs && g->members && g->label && g->work &&
           g->points;
}

search_status kvtuner_group(const kvtuner_layers *layers, double eps, uint32_t min_samples, kvtuner_groups *out)
{
    grouping g = {.in = layers, .out = out};
    *out = (kvtuner_groups){0};
    search_status status = check(layers);
    if (status == SEARCH_OK && !allocate(&g)) status = SEARCH_NO_MEMORY;
    for (uint32_t l = 0; status == SEARCH_OK && l < layers->n_layers; l++) prune(&g, l);
    for (uint32_t l = 0; status == SEARCH_OK && l < layers->n_layers; l++) {
        uint32_t before = 0;
        while (!same_pairs(&g, before, l)) before++;
        if (before == l) cluster(&g, l, eps, min_samples);
    }
    if (status == SEARCH_OK)
        renumber(&g);
    else
        kvtuner_groups_free(out);
    free(g.n_pairs);
    free(g.pairs);
    free(g.members);
    free(g.label);
    free(g.work);
    free(g.points);
    return status;
}

void kvtuner_groups_free(kvtuner_groups *g)
{
    free(g->of);
    free(g->n_pairs);
    free(g->pairs);
    *g = (kvtuner_groups){0};
}
