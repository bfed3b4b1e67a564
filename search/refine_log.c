/* refine_log.c - see refine_log.h. Records are found by a hash of the table and the plan, so that a log of another
 * table has no effect; look-ups are linear, as a measurement takes seconds and there are some hundreds. */
#include "refine_log.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) + 0x9e3779b97f4a7c15u;
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
    return h ^ (h >> 31);
}

static uint64_t table_hash(const cost_table *t)
{
    uint64_t h = mix(0, t->n_items), bits;
    for (uint32_t i = 0; i < t->n_items; i++) {
        h = mix(h, t->n_options[i]);
        for (uint32_t o = 0; o < t->n_options[i]; o++) {
            memcpy(&bits, &t->options[i][o].loss, sizeof bits);
            h = mix(mix(h, t->options[i][o].bytes), bits);
        }
    }
    return h;
}

static uint64_t plan_hash(const refine_log *l, const uint16_t *choice)
{
    uint64_t h = l->seed;
    for (uint32_t i = 0; i < l->table->n_items; i++) h = mix(h, choice[i]);
    return h;
}

static bool add(refine_log *l, const refine_record *record, bool counted)
{
    if (l->n == l->capacity) {
        size_t capacity = 2 * l->capacity + 64;
        known_record *known = realloc(l->known, capacity * sizeof *known);
        if (!known) {
            l->status = SEARCH_NO_MEMORY;
            return false;
        }
        l->known = known;
        l->capacity = capacity;
    }
    l->known[l->n++] = (known_record){*record, counted};
    return true;
}

search_status refine_log_new(refine_log *l, const cost_table *t, const refine_options *options,
                             const refine_calls *calls)
{
    *l = (refine_log){.table = t, .calls = calls, .evaluations = options->evaluations, .seed = table_hash(t)};
    l->base = calloc(t->n_items, sizeof *l->base);
    if (!l->base) return SEARCH_NO_MEMORY;
    for (size_t i = 0; i < options->n_log; i++)
        if (isfinite(options->log[i].value) && !add(l, &options->log[i], false)) return l->status;
    return SEARCH_OK;
}

void refine_log_free(refine_log *l)
{
    free(l->known);
    free(l->base);
}

uint32_t refine_log_left(const refine_log *l)
{
    return l->evaluations - l->used;
}

static known_record *find(refine_log *l, const refine_record *wanted)
{
    for (size_t i = 0; i < l->n; i++) {
        const refine_record *r = &l->known[i].record;
        if (r->kind == wanted->kind && r->plan == wanted->plan && r->item == wanted->item &&
            r->option == wanted->option)
            return &l->known[i];
    }
    return NULL;
}

/* True if an answer is there or may be asked for; *known is NULL where it has to be. */
static bool look_up(refine_log *l, refine_record *r, known_record **known)
{
    *known = find(l, r);
    if (*known && (*known)->counted) return true;
    if (l->used == l->evaluations) return false;
    if (!*known) return true;
    (*known)->counted = true;
    l->used++;
    return true;
}

static bool go_on(refine_log *l, int returned)
{
    l->stopped = returned;
    return returned == 0;
}

static bool rebase(refine_log *l, const uint16_t *base)
{
    size_t bytes = l->table->n_items * sizeof *base;
    if (!l->calls->rebase || (l->based && memcmp(l->base, base, bytes) == 0)) return true;
    if (!go_on(l, l->calls->rebase(l->calls->context, base))) return false;
    memcpy(l->base, base, bytes);
    l->based = true;
    return true;
}

/* A measurement that was just made. */
static bool keep(refine_log *l, const refine_record *r)
{
    if (!isfinite(r->value)) {
        l->status = SEARCH_INVALID;
        return false;
    }
    if (!add(l, r, true)) return false;
    l->used++;
    l->asked++;
    return !l->calls->record || go_on(l, l->calls->record(l->calls->context, r, l->used));
}

bool refine_log_plan(refine_log *l, const uint16_t *base, const uint16_t *choice, double *loss, double *deviation)
{
    refine_record r = {.kind = REFINE_PLAN, .plan = plan_hash(l, choice)};
    known_record *known;
    if (!look_up(l, &r, &known)) return false;
    if (known) {
        r = known->record;
    } else {
        if (!rebase(l, base) || !go_on(l, l->calls->plan(l->calls->context, choice, &r.value, &r.deviation)) ||
            !keep(l, &r))
            return false;
    }
    *loss = r.value;
    *deviation = r.deviation;
    return true;
}

bool refine_log_marginal(refine_log *l, const uint16_t *base, uint32_t item, uint16_t option, double *delta)
{
    refine_record r = {.kind = REFINE_MARGINAL, .plan = plan_hash(l, base), .item = item, .option = option};
    known_record *known;
    if (!look_up(l, &r, &known)) return false;
    if (known) {
        r = known->record;
    } else {
        if (!rebase(l, base) ||
            !go_on(l, l->calls->marginal(l->calls->context, base, item, option, &r.value, &r.deviation)) ||
            !keep(l, &r))
            return false;
    }
    *delta = r.value;
    return true;
}
