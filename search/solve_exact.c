/* solve_exact.c - multiple-choice knapsack, all budgets at once (Dudzinski and Walukiewicz's dynamic
 * programming over lists).
 *
 *     F_0 = {(0, 0)},  F_{i+1} = nondominated { (b + bytes_io, l + loss_io) : (b, l) in F_i, o option of item
 * i }
 *
 * A state is a partial plan of the first items; only nondominated (bytes, loss) pairs are kept, sorted by
 * bytes. That is exact: whatever completes a dominated state completes its dominator at least as well, and as
 * rounding is monotone (a <= b implies fl(a + x) <= fl(b + x)) it holds for the floating-point sums
 * themselves. Losses are added in item order, so the result does not depend on how lists are merged.
 *
 * Bytes are counted in units above the cheapest plan. Because all costs come from whole blocks, distinct sums
 * are few (range / unit): 64 items with 12 options give some 10^4 states an item. For backtracking a state
 * keeps its predecessor and option only; its total is capped by max_cells, above which the unit is doubled
 * until the states fit. */
#include "table.h"
#include <stdbool.h>
#include <stdlib.h>

typedef struct state {
    uint64_t units;
    double loss;
    uint32_t from; /* index in the previous item's list */
    uint16_t option;
} state;

typedef struct state_list {
    state *at;
    size_t n, capacity;
} state_list;

typedef struct stage { /* one item's states, for backtracking */
    uint32_t *from;
    uint16_t *option;
} stage;

typedef struct solver {
    const cost_table *table;
    uint8_t **keep;
    uint64_t unit;
    size_t cells_left;
    bool overflow; /* max_cells reached: try a coarser unit */
    stage *stages; /* [n_items] */
    state_list now, next, merged;
} solver;

static search_status reserve(state_list *list, size_t n)
{
    list->n = 0;
    if (n <= list->capacity) return SEARCH_OK;
    size_t capacity = n + n / 2;
    state *at = capacity <= SIZE_MAX / sizeof *at ? realloc(list->at, capacity * sizeof *at) : NULL;
    if (!at) return SEARCH_NO_MEMORY;
    list->at = at;
    list->capacity = capacity;
    return SEARCH_OK;
}

static inline bool before(const state *a, const state *b)
{
    return a->units != b->units ? a->units < b->units : a->loss < b->loss;
}

/* The nondominated part of `a` and `b` + option, where `a` came from lower options and so wins ties. */
static void merge_option(state_list *out, const state_list *a, const state_list *b, uint64_t units, double loss,
                         uint16_t option)
{
    size_t i = 0, j = 0;
    state shifted = {0};
    for (;;) {
        if (j < b->n)
            shifted = (state){b->at[j].units + units, b->at[j].loss + loss, (uint32_t)j, option};
        else if (i == a->n)
            break;
        bool take_b = j < b->n && (i == a->n || before(&shifted, &a->at[i]));
        const state *s = take_b ? &shifted : &a->at[i];
        if (!out->n || s->loss < out->at[out->n - 1].loss) out->at[out->n++] = *s;
        if (take_b)
            j++;
        else
            i++;
    }
}

static void swap_lists(state_list *a, state_list *b)
{
    state_list t = *a;
    *a = *b;
    *b = t;
}

/* next = all options of one item added to `now`. Units round up; exact where `unit` divides every difference.
 */
static search_status add_item(solver *s, uint32_t item)
{
    const cost_table *t = s->table;
    uint64_t base = t->options[item][cheapest_option(t, item)].bytes;
    s->next.n = 0;
    for (uint32_t o = 0; o < t->n_options[item]; o++) {
        if (!s->keep[item][o]) continue;
        uint64_t difference = t->options[item][o].bytes - base;
        uint64_t units = difference / s->unit + (difference % s->unit != 0);
        if (reserve(&s->merged, s->next.n + s->now.n) != SEARCH_OK) return SEARCH_NO_MEMORY;
        merge_option(&s->merged, &s->next, &s->now, units, t->options[item][o].loss, (uint16_t)o);
        swap_lists(&s->next, &s->merged);
        s->overflow = s->next.n > s->cells_left || s->next.n > UINT32_MAX;
        if (s->overflow) return SEARCH_NO_MEMORY;
    }
    swap_lists(&s->now, &s->next);
    return SEARCH_OK;
}

static search_status remember(solver *s, stage *stage)
{
    size_t n = s->now.n;
    stage->from = malloc(n * sizeof *stage->from);
    stage->option = malloc(n * sizeof *stage->option);
    if (!stage->from || !stage->option) return SEARCH_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        stage->from[i] = s->now.at[i].from;
        stage->option[i] = s->now.at[i].option;
    }
    s->cells_left -= n;
    return SEARCH_OK;
}

static void forget(solver *s)
{
    for (uint32_t i = 0; i < s->table->n_items; i++) {
        free(s->stages[i].from);
        free(s->stages[i].option);
        s->stages[i] = (stage){0};
    }
}

/* All lists, first item to last, with the present unit. */
static search_status sweep(solver *s, size_t max_cells)
{
    s->cells_left = max_cells;
    s->overflow = false;
    if (reserve(&s->now, 1) != SEARCH_OK) return SEARCH_NO_MEMORY;
    s->now.at[0] = (state){0};
    s->now.n = 1;
    for (uint32_t i = 0; i < s->table->n_items; i++) {
        search_status status = add_item(s, i);
        if (status == SEARCH_OK) status = remember(s, &s->stages[i]);
        if (status != SEARCH_OK) return status;
    }
    return SEARCH_OK;
}

static uint64_t largest_difference(const cost_table *t)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < t->n_items; i++) {
        uint64_t base = t->options[i][cheapest_option(t, i)].bytes;
        for (uint32_t o = 0; o < t->n_options[i]; o++)
            if (t->options[i][o].bytes - base > largest) largest = t->options[i][o].bytes - base;
    }
    return largest;
}

static void trace(const solver *s, size_t index, uint16_t *choice)
{
    for (uint32_t i = s->table->n_items; i-- > 0;) {
        choice[i] = s->stages[i].option[index];
        index = s->stages[i].from[index];
    }
}

static int by_bytes(const void *a, const void *b)
{
    const front_point *p = a, *q = b;
    if (p->bytes != q->bytes) return p->bytes < q->bytes ? -1 : 1;
    if (p->loss != q->loss) return p->loss < q->loss ? -1 : 1;
    return p->choice < q->choice ? -1 : 1; /* the order before sorting */
}

/* With a coarse unit the true bytes need not rise with the rounded ones: sort, and drop what is dominated. */
static void tidy(front *f)
{
    size_t kept = 0;
    qsort(f->points, f->n, sizeof *f->points, by_bytes);
    for (size_t i = 0; i < f->n; i++)
        if (!kept || f->points[i].loss < f->points[kept - 1].loss) f->points[kept++] = f->points[i];
    f->n = kept;
}

static search_status collect(const solver *s, front *out)
{
    uint32_t n_items = s->table->n_items;
    size_t n = s->now.n;
    if (n > SIZE_MAX / sizeof(front_point) || n > SIZE_MAX / sizeof(uint16_t) / n_items) return SEARCH_NO_MEMORY;
    *out = (front){n, malloc(n * sizeof *out->points), malloc(n * n_items * sizeof *out->choices)};
    if (!out->points || !out->choices) {
        front_free(out);
        return SEARCH_NO_MEMORY;
    }
    for (size_t i = 0; i < n; i++) {
        out->points[i].choice = out->choices + i * n_items;
        trace(s, i, out->points[i].choice);
        price_plan(s->table, &out->points[i]);
    }
    tidy(out);
    return SEARCH_OK;
}

search_status solve_exact(const cost_table *t, size_t max_cells, front *out, uint64_t *unit)
{
    *out = (front){0};
    solver s = {.table = t};
    search_status status = pareto_prune(t, &s.keep);
    if (status != SEARCH_OK) return status;
    s.stages = calloc(t->n_items, sizeof *s.stages);
    if (!s.stages) {
        free(s.keep);
        return SEARCH_NO_MEMORY;
    }
    uint64_t largest = largest_difference(t);
    for (s.unit = cost_unit(t);; s.unit *= 2) {
        status = sweep(&s, max_cells);
        if (status == SEARCH_OK || !s.overflow || s.unit > largest) break;
        forget(&s);
    }
    if (status == SEARCH_OK) status = collect(&s, out);
    if (status == SEARCH_OK && unit) *unit = s.unit;
    forget(&s);
    free(s.stages);
    free(s.keep);
    free(s.now.at);
    free(s.next.at);
    free(s.merged.at);
    return status;
}
