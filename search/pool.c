/* pool.c - see pool.h. Points are appended, and tidied whenever there are twice as many as were worth keeping. */
#include "pool.h"
#include <stdlib.h>
#include <string.h>

enum { FIRST = 256 };

static int by_bytes(const void *a, const void *b)
{
    const pool_point *p = a, *q = b;
    if (p->bytes != q->bytes) return p->bytes < q->bytes ? -1 : 1;
    if (p->loss != q->loss) return p->loss < q->loss ? -1 : 1;
    return p->row < q->row ? -1 : p->row > q->row;
}

static uint16_t *row(const pool *p, size_t i)
{
    return p->choices + i * p->n_items;
}

bool pool_tidy(pool *p)
{
    size_t kept = 0, bytes = p->n_items * sizeof *p->choices;
    if (p->n == p->tidied) return true;
    qsort(p->points, p->n, sizeof *p->points, by_bytes);
    for (size_t i = 0; i < p->n; i++)
        if (!kept || p->points[i].loss < p->points[kept - 1].loss) p->points[kept++] = p->points[i];
    uint16_t *choices = malloc(p->capacity * bytes);
    if (!choices) return false;
    for (size_t i = 0; i < kept; i++) {
        memcpy(choices + i * p->n_items, row(p, p->points[i].row), bytes);
        p->points[i].row = i;
    }
    free(p->choices);
    p->choices = choices;
    p->n = p->tidied = kept;
    return true;
}

static bool grow(pool *p)
{
    size_t capacity = p->capacity ? 2 * p->capacity : FIRST;
    if (capacity > SIZE_MAX / sizeof *p->points || capacity > SIZE_MAX / sizeof *p->choices / p->n_items)
        return false;
    pool_point *points = realloc(p->points, capacity * sizeof *points);
    if (!points) return false;
    p->points = points;
    uint16_t *choices = realloc(p->choices, capacity * p->n_items * sizeof *choices);
    if (!choices) return false;
    p->choices = choices;
    p->capacity = capacity;
    return true;
}

bool pool_add(pool *p, uint64_t bytes, double loss, const uint16_t *choice)
{
    if (p->n == p->capacity) {
        if (p->n && !pool_tidy(p)) return false;
        if (2 * p->n >= p->capacity && !grow(p)) return false;
    }
    p->points[p->n] = (pool_point){bytes, loss, p->n};
    memcpy(row(p, p->n++), choice, p->n_items * sizeof *choice);
    return true;
}

search_status pool_front(pool *p, front *out)
{
    *out = (front){0};
    if (p->n == 0) return SEARCH_INFEASIBLE;
    front_point *points = malloc(p->n * sizeof *points);
    if (!points || !pool_tidy(p)) {
        free(points);
        return SEARCH_NO_MEMORY;
    }
    for (size_t i = 0; i < p->n; i++) points[i] = (front_point){p->points[i].bytes, p->points[i].loss, row(p, i)};
    *out = (front){p->n, points, p->choices};
    p->choices = NULL;
    pool_free(p);
    return SEARCH_OK;
}

void pool_free(pool *p)
{
    free(p->points);
    free(p->choices);
    *p = (pool){.n_items = p->n_items};
}
