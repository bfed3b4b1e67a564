/* objective.c - see objective.h. */
#include "objective.h"
#include "console.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HALVINGS = 12 }; /* of the range of budgets */

bool objective_is_max(const settings *s)
{
    return strcmp(s->objective, "max") == 0;
}

/* Prices on a domain's text differ from those on all text, unless there were none on it, or on it alone. */
static bool is_priced(const profile *p, uint32_t domain)
{
    for (uint32_t i = 0; i < p->n_prices; i++)
        if (p->price_domain_kl[(size_t)i * p->n_domains + domain] != p->prices[i].kl) return true;
    return false;
}

static void note_prices(const profile *p)
{
    uint32_t priced = 0;
    for (uint32_t d = 0; d < p->n_domains; d++) priced += is_priced(p, d);
    if (priced == 0)
        console_note("prices are of one text alone (--price-tokens): --objective max tells the others apart by their "
                     "local losses");
    for (uint32_t d = 0; priced && d < p->n_domains; d++)
        if (!is_priced(p, d))
            console_note("%s: no prices on this text (--price-tokens): --objective max takes those of the others",
                         p->domains[d]);
}

void objective_note(const profile *p, const settings *s, size_t n_files)
{
    if (!objective_is_max(s)) return;
    uint32_t n = p->n_domains ? p->n_domains : 1;
    if (n < n_files)
        console_note("%u of %zu prompt files are calibrated on (--calib-tokens): --objective max knows no others", n,
                     n_files);
    if (p->n_domains == 0) console_note("the profile has one text alone: --objective max is the mean over it");
    if (p->n_domains && p->n_prices) note_prices(p);
}

double objective_anchor_kl(const profile *p, uint32_t anchor)
{
    double most = 0;
    for (uint32_t d = 0; d < p->n_domains; d++)
        most = fmax(most, p->anchor_domain_kl[(size_t)anchor * p->n_domains + d]);
    return most;
}

/* ---- losses ---- */

static double anchor_loss(const priced *x, const profile *p, const profile_anchor *a, uint32_t domain)
{
    double sum = 0;
    for (uint32_t item = 0; item < 2 * p->n_layers; item++) {
        size_t candidate = item % 2 ? a->value[item / 2] : a->key[item / 2];
        sum += x->domain_loss[item][candidate * x->n_domains + domain];
    }
    return sum;
}

static double anchor_mean_loss(const priced *x, const profile *p, const profile_anchor *a)
{
    double sum = 0;
    for (uint32_t i = 0; i < p->n_layers; i++) sum += x->loss[2 * i][a->key[i]] + x->loss[2 * i + 1][a->value[i]];
    return sum;
}

/* What brings a domain's losses in the proportion to all text's in which the anchors' KLs are: their geometric mean.
 */
static double scale_of(const priced *x, const profile *p, uint32_t domain)
{
    double sum = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_anchors; i++) {
        const profile_anchor *a = &p->anchors[i];
        double kl = p->anchor_domain_kl[(size_t)i * p->n_domains + domain], loss = anchor_loss(x, p, a, domain),
               mean = anchor_mean_loss(x, p, a);
        if (!(kl > 0) || !(a->kl > 0) || !(loss > 0) || !(mean > 0)) continue;
        sum += log(kl / a->kl) - log(loss / mean);
        n++;
    }
    return n ? exp(sum / n) : 1;
}

static void fill(objective *o, const priced *x, const profile *p)
{
    uint32_t D = x->n_domains;
    for (uint32_t d = 0; d < D; d++) {
        double scale = scale_of(x, p, d);
        for (uint32_t i = 0; i < x->table.n_items; i++)
            for (uint32_t k = 0; k < x->table.n_options[i]; k++)
                o->rows[i][(size_t)k * D + d] = scale * x->domain_loss[i][(size_t)x->candidate[i][k] * D + d];
    }
}

kvc_status objective_new(objective *out, const priced *priced, const profile *p, kvc_error *err)
{
    const cost_table *t = &priced->table;
    size_t D = priced->n_domains, total = 0;
    *out = (objective){0};
    if (D == 0) return KVC_OK;
    for (uint32_t i = 0; i < t->n_items; i++) total += t->n_options[i];
    out->rows = calloc(t->n_items, sizeof *out->rows);
    out->weights = calloc(D, sizeof *out->weights);
    double *next = calloc(total * D, sizeof *next);
    if (!out->rows || !out->weights || !next) {
        free(next);
        objective_free(out);
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu domains", D);
    }
    for (uint32_t i = 0; i < t->n_items; next += D * t->n_options[i++]) out->rows[i] = next;
    fill(out, priced, p);
    out->losses = (domain_losses){(uint32_t)D, out->rows};
    return KVC_OK;
}

void objective_free(objective *o)
{
    if (o->rows) free(o->rows[0]);
    free(o->rows);
    free(o->weights);
    *o = (objective){0};
}

/* ---- weights ---- */

static void equal_weights(objective *o)
{
    for (uint32_t d = 0; d < o->losses.n; d++) o->weights[d] = 1.0 / o->losses.n;
}

kvc_status objective_for_bytes(objective *o, cost_table *t, uint64_t budget, size_t max_cells, front_point *plan,
                               kvc_error *err)
{
    double bound = 0;
    search_status status = plan ? solve_minimax(t, &o->losses, budget, max_cells, o->weights, &bound, plan)
                                : minimax_weights(t, &o->losses, budget, o->weights, &bound);
    if (status == SEARCH_INFEASIBLE) {
        equal_weights(o);
        status = SEARCH_OK;
    } else if (status == SEARCH_OK && plan)
        console_detail("objective max: largest loss %.5g, no plan has less than %.5g", plan->loss, bound);
    if (status == SEARCH_OK) minimax_weigh(t, &o->losses, o->weights);
    return search_failed(status, err);
}

/* The bytes of the plans of all items' cheapest and of all items' dearest options. */
static void byte_range(const cost_table *t, uint64_t *low, uint64_t *high)
{
    *low = *high = 0;
    for (uint32_t i = 0; i < t->n_items; i++) {
        uint64_t least = UINT64_MAX, most = 0;
        for (uint32_t k = 0; k < t->n_options[i]; k++) {
            uint64_t bytes = t->options[i][k].bytes;
            least = bytes < least ? bytes : least;
            most = bytes > most ? bytes : most;
        }
        *low += least;
        *high += most;
    }
}

static search_status cheapest_of_mean(const objective *o, const cost_table *t, const predictor *predictor,
                                      double limit, size_t max_cells, front_point *plan)
{
    front f;
    size_t i = 0, bytes = t->n_items * sizeof *plan->choice;
    search_status status = solve_exact(t, max_cells, &f, NULL);
    if (status != SEARCH_OK) return status;
    while (i < f.n && predictor_kl(predictor, minimax_loss(t, &o->losses, f.points[i].choice)) > limit) i++;
    if (i < f.n) {
        *plan = f.points[i];
        plan->choice = malloc(bytes);
        if (plan->choice)
            memcpy(plan->choice, f.points[i].choice, bytes);
        else
            status = SEARCH_NO_MEMORY;
    }
    front_free(&f);
    return status;
}

/* Bisection for the smallest budget whose bound keeps the limit: the bound is near what plans reach. */
kvc_status objective_for_loss(objective *o, cost_table *t, const predictor *predictor, double limit, size_t max_cells,
                              front_point *plan, kvc_error *err)
{
    uint64_t low, high;
    double bound;
    search_status status = SEARCH_OK;
    byte_range(t, &low, &high);
    for (int i = 0; i < HALVINGS && low < high && status == SEARCH_OK; i++) {
        uint64_t middle = low + (high - low) / 2;
        status = minimax_weights(t, &o->losses, middle, o->weights, &bound);
        if (status == SEARCH_OK && predictor_kl(predictor, bound) <= limit)
            high = middle;
        else
            low = middle + 1;
    }
    if (status == SEARCH_OK) status = minimax_weights(t, &o->losses, high, o->weights, NULL);
    if (status == SEARCH_OK && plan) status = cheapest_of_mean(o, t, predictor, limit, max_cells, plan);
    if (status == SEARCH_OK) minimax_weigh(t, &o->losses, o->weights);
    return search_failed(status, err);
}
