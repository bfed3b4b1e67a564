/* kvtuner.c - see kvtuner.h: the search over one pair per group. */
#include "kvtuner.h"
#include "draw.h"
#include "nsga2.h"
#include "pool.h"
#include <math.h>
#include <stdlib.h>

enum { POPULATION = 50 };

typedef struct tuning {
    const kvtuner_layers *layers;
    const kvtuner_groups *groups;
    const kvtuner_options *options;
    uint16_t *choice; /* [n_layers] */
    uint32_t asked;
} tuning;

uint64_t kvtuner_plan(const uint16_t *choice, uint32_t n_layers)
{
    uint64_t h = n_layers;
    for (uint32_t i = 0; i < n_layers; i++) {
        draws mix = {h ^ choice[i]};
        h = draw_next(&mix);
    }
    return h;
}

/* Every layer's pair, and their bytes. */
static uint64_t expand(const tuning *x, const uint16_t *genes, uint16_t *choice)
{
    uint64_t bytes = 0;
    for (uint32_t l = 0; l < x->layers->n_layers; l++) {
        uint32_t group = x->groups->of[l];
        choice[l] = x->groups->pairs[(size_t)group * x->layers->n_pairs + genes[group]];
        bytes += x->layers->bytes[choice[l]];
    }
    return bytes;
}

static const kvtuner_record *find(const tuning *x, const uint16_t *choice)
{
    uint64_t plan = kvtuner_plan(choice, x->layers->n_layers);
    for (size_t i = 0; i < x->options->n_log; i++)
        if (x->options->log[i].plan == plan && isfinite(x->options->log[i].loss)) return &x->options->log[i];
    return NULL;
}

static int evaluate(void *context, const uint16_t *genes, double objective[2])
{
    tuning *x = context;
    objective[0] = (double)expand(x, genes, x->choice);
    const kvtuner_record *known = find(x, x->choice);
    if (known) {
        objective[1] = known->loss;
        return 0;
    }
    int stopped = x->options->evaluate(x->options->context, x->choice, &objective[1]);
    x->asked += stopped == 0;
    return stopped;
}

static search_status search(tuning *x, nsga2_archive *out)
{
    uint32_t n = x->groups->n;
    uint16_t *first = calloc(2 * (size_t)n, sizeof *first); /* the cheapest plan, and the dearest */
    if (!first) return SEARCH_NO_MEMORY;
    for (uint32_t g = 0; g < n; g++) first[n + g] = (uint16_t)(x->groups->n_pairs[g] - 1);
    nsga2_problem problem = {.n_genes = n,
                             .n_values = x->groups->n_pairs,
                             .limit = x->options->budget == UINT64_MAX ? INFINITY : (double)x->options->budget,
                             .evaluate = evaluate,
                             .context = x};
    nsga2_options options = {.population = x->options->population ? x->options->population : POPULATION,
                             .evaluations = x->options->evaluations,
                             .seed = x->options->seed,
                             .first = first,
                             .n_first = 2};
    search_status status = nsga2(&problem, &options, out);
    free(first);
    return status;
}

static search_status collect(const tuning *x, const nsga2_archive *archive, front *out)
{
    pool plans = {.n_items = x->layers->n_layers};
    search_status status = SEARCH_OK;
    for (size_t i = 0; status == SEARCH_OK && i < archive->n; i++) {
        uint64_t bytes = expand(x, archive->genes + i * archive->n_genes, x->choice);
        if (!pool_add(&plans, bytes, archive->objective[i][1], x->choice)) status = SEARCH_NO_MEMORY;
    }
    if (status == SEARCH_OK) status = pool_front(&plans, out);
    pool_free(&plans);
    return status;
}

search_status kvtuner_search(const kvtuner_layers *layers, const kvtuner_groups *groups,
                             const kvtuner_options *options, kvtuner_result *out)
{
    nsga2_archive archive = {0};
    tuning x = {layers, groups, options, malloc(layers->n_layers * sizeof *x.choice), 0};
    *out = (kvtuner_result){0};
    search_status status = x.choice ? search(&x, &archive) : SEARCH_NO_MEMORY;
    uint32_t used = (uint32_t)archive.n;
    int stopped = archive.stopped;
    if (status == SEARCH_OK) status = collect(&x, &archive, &out->front);
    if (status == SEARCH_OK || stopped) {
        out->used = used;
        out->asked = x.asked;
        out->stopped = stopped;
    }
    nsga2_free(&archive);
    free(x.choice);
    return status == SEARCH_INFEASIBLE && stopped ? SEARCH_OK : status;
}
