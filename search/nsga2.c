/* nsga2.c - see nsga2.h. Genes live in the archive alone; a population is a list of references into it. */
#include "nsga2.h"
#include "draw.h"
#include "nsga2_rank.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES = 1000 };

typedef struct breeding {
    const nsga2_problem *problem;
    const nsga2_options *options;
    nsga2_archive *archive;
    size_t room;     /* of the archive */
    uint32_t *slots; /* [n_slots] hash table: place in the archive + 1, 0: empty */
    size_t n_slots;  /* a power of two, twice the evaluations at least */
    uint64_t space;  /* how many there are to evaluate; UINT64_MAX: that or more */
    individual *all; /* [2 population]: the parents, best first, and their children */
    uint32_t n;      /* of all */
    uint32_t *scratch;
    uint16_t *child; /* [n_genes] */
    draws draws;
    search_status status;
} breeding;

static const uint16_t *genes_of(const breeding *b, size_t id)
{
    return b->archive->genes + id * b->problem->n_genes;
}

/* The slot that holds the genes, or the empty one where they belong. */
static uint32_t *find_slot(const breeding *b, const uint16_t *genes)
{
    uint32_t n = b->problem->n_genes;
    uint64_t h = 0;
    for (uint32_t i = 0; i < n; i++) {
        draws mix = {h ^ genes[i]};
        h = draw_next(&mix);
    }
    for (size_t at = h;; at++) {
        uint32_t *slot = &b->slots[at & (b->n_slots - 1)];
        if (*slot == 0 || memcmp(genes_of(b, *slot - 1), genes, n * sizeof *genes) == 0) return slot;
    }
}

static bool make_room(breeding *b)
{
    nsga2_archive *a = b->archive;
    if (a->n < b->room) return true;
    size_t room = 2 * b->room + 64;
    uint16_t *genes = realloc(a->genes, room * b->problem->n_genes * sizeof *genes);
    if (genes) a->genes = genes;
    double(*objective)[2] = realloc(a->objective, room * sizeof *objective);
    if (objective) a->objective = objective;
    if (genes && objective) b->room = room;
    return genes && objective;
}

/* Evaluates b->child, which is new, into the archive and the population. False: the search is at its end. */
static bool take_child(breeding *b)
{
    nsga2_archive *a = b->archive;
    double objective[2];
    if (a->n == b->options->evaluations) return false;
    if (!make_room(b)) {
        b->status = SEARCH_NO_MEMORY;
        return false;
    }
    a->stopped = b->problem->evaluate(b->problem->context, b->child, objective);
    if (a->stopped) return false;
    if (!isfinite(objective[0]) || !isfinite(objective[1])) {
        b->status = SEARCH_INVALID;
        return false;
    }
    *find_slot(b, b->child) = (uint32_t)a->n + 1;
    memcpy(a->genes + a->n * b->problem->n_genes, b->child, b->problem->n_genes * sizeof *b->child);
    memcpy(a->objective[a->n], objective, sizeof objective);
    b->all[b->n++] =
        (individual){(uint32_t)a->n++, {objective[0], objective[1]}, fmax(0, objective[0] - b->problem->limit), 0, 0};
    return true;
}

static void draw_genes(breeding *b)
{
    for (uint32_t i = 0; i < b->problem->n_genes; i++)
        b->child[i] = (uint16_t)draw_below(&b->draws, b->problem->n_values[i]);
}

/* The better of two parents drawn. */
static const individual *tournament(breeding *b, uint32_t parents)
{
    const individual *x = &b->all[draw_below(&b->draws, parents)], *y = &b->all[draw_below(&b->draws, parents)];
    return is_better(y, x) ? y : x;
}

static void breed(breeding *b, uint32_t parents)
{
    const uint16_t *mother = genes_of(b, tournament(b, parents)->id);
    const uint16_t *father = genes_of(b, tournament(b, parents)->id);
    uint32_t n = b->problem->n_genes;
    for (uint32_t i = 0; i < n; i++) {
        uint16_t values = b->problem->n_values[i];
        b->child[i] = draw_below(&b->draws, 2) ? mother[i] : father[i];
        if (draw_below(&b->draws, n) == 0 && values > 1)
            b->child[i] = (uint16_t)((b->child[i] + 1 + draw_below(&b->draws, values - 1)) % values);
    }
}

/* A child that was not evaluated yet, bred while parents make any (parents 0: drawn), into b->child. */
static bool new_child(breeding *b, uint32_t parents)
{
    for (int i = 0; i < TRIES; i++) {
        if (parents && i < TRIES / 2)
            breed(b, parents);
        else
            draw_genes(b);
        if (*find_slot(b, b->child) == 0) return true;
    }
    return false;
}

static bool is_exhausted(const breeding *b)
{
    return b->archive->n >= b->space;
}

static void first_population(breeding *b)
{
    uint32_t n = b->problem->n_genes;
    for (uint32_t i = 0; i < b->options->n_first && b->n < b->options->population; i++) {
        memcpy(b->child, b->options->first + (size_t)i * n, n * sizeof *b->child);
        if (*find_slot(b, b->child) == 0 && !take_child(b)) return;
    }
    while (b->n < b->options->population && !is_exhausted(b) && new_child(b, 0) && take_child(b)) continue;
    rank_and_sort(b->all, b->n, b->scratch);
}

/* As many children as parents, of whom the better half live on. False: that was the last generation. */
static bool next_generation(breeding *b)
{
    uint32_t parents = b->n;
    while (b->n < 2 * parents && !is_exhausted(b) && new_child(b, parents) && take_child(b)) continue;
    bool whole = b->n == 2 * parents;
    rank_and_sort(b->all, b->n, b->scratch);
    b->n = parents;
    return whole;
}

static uint64_t count_space(const nsga2_problem *p)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < p->n_genes; i++) n = n > UINT64_MAX / p->n_values[i] ? UINT64_MAX : n * p->n_values[i];
    return n;
}

static bool allocate(breeding *b)
{
    size_t population = b->options->population;
    for (b->n_slots = 64; b->n_slots < 2 * (size_t)b->options->evaluations; b->n_slots *= 2) continue;
    b->slots = calloc(b->n_slots, sizeof *b->slots);
    b->all = malloc(2 * population * sizeof *b->all);
    b->scratch = malloc(2 * population * sizeof *b->scratch);
    b->child = malloc(b->problem->n_genes * sizeof *b->child);
    return b->slots && b->all && b->scratch && b->child;
}

search_status nsga2(const nsga2_problem *problem, const nsga2_options *options, nsga2_archive *out)
{
    *out = (nsga2_archive){.n_genes = problem->n_genes};
    breeding b = {.problem = problem, .options = options, .archive = out, .draws = {options->seed}};
    if (problem->n_genes == 0 || options->population < 2) return SEARCH_INVALID;
    b.space = count_space(problem);
    b.status = allocate(&b) ? SEARCH_OK : SEARCH_NO_MEMORY;
    if (b.status == SEARCH_OK) first_population(&b);
    while (b.status == SEARCH_OK && b.n && !out->stopped && next_generation(&b)) continue;
    free(b.slots);
    free(b.all);
    free(b.scratch);
    free(b.child);
    if (b.status != SEARCH_OK) nsga2_free(out);
    return b.status;
}

void nsga2_free(nsga2_archive *a)
{
    free(a->genes);
    free(a->objective);
    *a = (nsga2_archive){0};
}
