/* facility.c - see facility.h. Exchanges as Whitaker evaluates them: with each client's best and second best chosen
 * facility at hand, one pass over the clients gives what an arrival saves and what each departure then costs. */
#include "facility.h"
#include <math.h>

enum { MAX_EXCHANGES = 1000 }; /* each lowers the cost; rounding must not make a circle */

typedef struct site {
    const double *cost;
    uint32_t n_clients, n, k, n_chosen;
    uint32_t *chosen;
    double *best, *second, *leave; /* [n_clients], [n_clients], [k] what each departure costs */
    double *server;                /* [n_clients] place in chosen[] of the best */
} site;

static double cost_of(const site *s, uint32_t client, uint32_t facility)
{
    return s->cost[(uint64_t)client * s->n + facility];
}

static void serve(site *s)
{
    for (uint32_t c = 0; c < s->n_clients; c++) {
        s->best[c] = s->second[c] = INFINITY;
        for (uint32_t i = 0; i < s->n_chosen; i++) {
            double cost = cost_of(s, c, s->chosen[i]);
            if (cost < s->best[c]) {
                s->second[c] = s->best[c];
                s->best[c] = cost;
                s->server[c] = i;
            } else if (cost < s->second[c]) {
                s->second[c] = cost;
            }
        }
    }
}

static bool is_chosen(const site *s, uint32_t facility)
{
    for (uint32_t i = 0; i < s->n_chosen; i++)
        if (s->chosen[i] == facility) return true;
    return false;
}

/* The total with one more; the first one has nothing to compare with. */
static double total_with(const site *s, uint32_t facility)
{
    double sum = 0;
    for (uint32_t c = 0; c < s->n_clients; c++) sum += fmin(s->best[c], cost_of(s, c, facility));
    return sum;
}

static bool add_best(site *s)
{
    uint32_t pick = s->n;
    double least = 0;
    for (uint32_t c = 0; c < s->n_clients; c++) least += s->best[c];
    for (uint32_t f = 0; f < s->n; f++) {
        double total = total_with(s, f);
        if (total >= least) continue;
        least = total;
        pick = f;
    }
    if (pick == s->n) return false;
    s->chosen[s->n_chosen++] = pick;
    return true;
}

/* What the arrival of `f` saves, less the departure that then costs least, whose place is *out. */
static double gain(site *s, uint32_t f, uint32_t *out)
{
    double saved = 0;
    for (uint32_t i = 0; i < s->n_chosen; i++) s->leave[i] = 0;
    for (uint32_t c = 0; c < s->n_clients; c++) {
        double cost = cost_of(s, c, f);
        if (cost < s->best[c])
            saved += s->best[c] - cost;
        else
            s->leave[(uint32_t)s->server[c]] += fmin(cost, s->second[c]) - s->best[c];
    }
    *out = 0;
    for (uint32_t i = 1; i < s->n_chosen; i++)
        if (s->leave[i] < s->leave[*out]) *out = i;
    return saved - s->leave[*out];
}

static bool exchange(site *s, double tolerance)
{
    uint32_t arrives = s->n, leaves = 0, place;
    double best = tolerance;
    serve(s);
    for (uint32_t f = 0; f < s->n; f++) {
        if (is_chosen(s, f)) continue;
        double g = gain(s, f, &place);
        if (g <= best) continue;
        best = g;
        arrives = f;
        leaves = place;
    }
    if (arrives == s->n) return false;
    s->chosen[leaves] = arrives;
    return true;
}

static void sort(uint32_t *list, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t j = i; j > 0 && list[j] < list[j - 1]; j--) {
            uint32_t t = list[j];
            list[j] = list[j - 1];
            list[j - 1] = t;
        }
}

uint32_t choose_facilities(const double *cost, uint32_t n_clients, uint32_t n, uint32_t k, uint32_t *chosen,
                           double *work)
{
    site s = {cost,
              n_clients,
              n,
              k,
              0,
              chosen,
              work,
              work + n_clients,
              work + 3 * (uint64_t)n_clients,
              work + 2 * (uint64_t)n_clients};
    double total = 0;
    do serve(&s);
    while (s.n_chosen < k && add_best(&s));
    for (uint32_t c = 0; c < n_clients; c++) total += s.best[c];
    for (int i = 0; s.n_chosen == k && i < MAX_EXCHANGES && exchange(&s, 1e-12 * total); i++) continue;
    sort(chosen, s.n_chosen);
    return s.n_chosen;
}
