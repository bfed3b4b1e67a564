/* pair_table.c - see pair_table.h. */
#include "pair_table.h"
#include "table.h"
#include <stdlib.h>

static uint64_t trait(const uint64_t *const list[2], uint32_t side, uint32_t option)
{
    return list[side] ? list[side][option] : 0;
}

/* Is option b of a side at least as good as a everywhere? Of equals the lower index is. */
static bool covers(const cost_table *t, const constraints *c, uint32_t side, uint32_t b, uint32_t a)
{
    bool better = b < a || trait(c->page, side, b) < trait(c->page, side, a) ||
                  trait(c->constants, side, b) < trait(c->constants, side, a);
    if (trait(c->page, side, b) > trait(c->page, side, a)) return false;
    if (trait(c->constants, side, b) > trait(c->constants, side, a)) return false;
    for (uint32_t i = side; i < t->n_items; i += 2) {
        const cost_option *x = &t->options[i][a], *y = &t->options[i][b];
        if (y->bytes > x->bytes || y->loss > x->loss) return false;
        better = better || y->bytes < x->bytes || y->loss < x->loss;
    }
    return better;
}

/* The options of a side that nothing covers; returns how many. */
static uint32_t useful(const cost_table *t, const constraints *c, uint32_t side, uint16_t *list)
{
    uint32_t n = 0;
    for (uint32_t a = 0; a < t->n_options[side]; a++) {
        bool covered = false;
        for (uint32_t b = 0; b < t->n_options[side] && !covered; b++) covered = b != a && covers(t, c, side, b, a);
        if (!covered) list[n++] = (uint16_t)a;
    }
    return n;
}

static int by_page(const void *a, const void *b)
{
    const pair *p = a, *q = b;
    if (p->page != q->page) return p->page < q->page ? -1 : 1;
    if (p->option[0] != q->option[0]) return p->option[0] < q->option[0] ? -1 : 1;
    return p->option[1] < q->option[1] ? -1 : 1;
}

static void list_pairs(pair_table *p, const constraints *c, uint16_t *const options[2], const uint32_t n[2])
{
    for (uint32_t i = 0; i < n[0]; i++)
        for (uint32_t j = 0; j < n[1]; j++) {
            uint16_t a = options[0][i], b = options[1][j];
            p->pairs[p->n++] = (pair){{a, b},
                                      trait(c->page, 0, a) + trait(c->page, 1, b),
                                      trait(c->constants, 0, a) + trait(c->constants, 1, b)};
        }
    qsort(p->pairs, p->n, sizeof *p->pairs, by_page);
}

static void add_costs(pair_table *p, const cost_table *t)
{
    for (uint32_t l = 0; l < p->n_layers; l++)
        for (uint32_t i = 0; i < p->n; i++) {
            const cost_option *a = &t->options[2 * l][p->pairs[i].option[0]];
            const cost_option *b = &t->options[2 * l + 1][p->pairs[i].option[1]];
            *pair_cost(p, l, i) = (cost_option){a->bytes + b->bytes, a->loss + b->loss};
        }
}

search_status pair_table_new(pair_table *out, const cost_table *t, const constraints *c)
{
    uint32_t n[2];
    uint16_t *options[2];
    *out = (pair_table){.t = t, .n_layers = t->n_items / 2};
    for (int side = 0; side < 2; side++) {
        options[side] = malloc(t->n_options[side] * sizeof *options[side]);
        n[side] = options[side] ? useful(t, c, (uint32_t)side, options[side]) : 0;
    }
    size_t pairs = (size_t)n[0] * n[1];
    if (pairs && pairs <= UINT32_MAX && pairs <= SIZE_MAX / sizeof *out->cost / out->n_layers) {
        out->pairs = malloc(pairs * sizeof *out->pairs);
        out->cost = malloc(pairs * out->n_layers * sizeof *out->cost);
    }
    bool ok = out->pairs && out->cost;
    if (ok) list_pairs(out, c, options, n);
    if (ok) add_costs(out, t);
    if (!ok) pair_table_free(out);
    free(options[0]);
    free(options[1]);
    return ok ? SEARCH_OK : SEARCH_NO_MEMORY;
}

void pair_table_free(pair_table *p)
{
    free(p->pairs);
    free(p->cost);
    *p = (pair_table){0};
}
