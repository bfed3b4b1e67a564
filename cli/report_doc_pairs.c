/* report_doc_pairs.c - how well the pricing predicts, from measurements that the prediction did not see:
 *   plans: each plan that was measured on calibration text, through the others (predict.h);
 *   items, from one price: what --price anchor does, where an item has several prices: KL grows with the local loss
 *     from the price nearest to one bit;
 *   items, from local losses: what --price local does: KL is the local loss times one constant, made from all other
 *     prices. */
#include "report_doc_part.h"
#include <math.h>
#include <stdlib.h>

static json_t *pair_json(json_t *name, double predicted, double measured, double error)
{
    return json_pack("{s:o,s:o,s:o,s:o}", "name", name, "predicted", number_json(predicted), "measured",
                     number_json(measured), "stderr", number_json(error));
}

/* Takes the pairs; a set without any is left out. */
static void add_set(json_t *sets, const char *name, json_t *pairs)
{
    if (json_array_size(pairs))
        json_array_append_new(sets, json_pack("{s:s,s:o}", "name", name, "pairs", pairs));
    else
        json_decref(pairs);
}

static double plan_loss(const solution *s, const profile_anchor *a)
{
    double sum = 0;
    for (uint32_t i = 0; i < s->profile->n_layers; i++)
        sum += s->priced.loss[2 * i][a->key[i]] + s->priced.loss[2 * i + 1][a->value[i]];
    return sum;
}

static double plan_codes(const profile *p, const profile_anchor *a)
{
    double sum = 0;
    for (uint32_t i = 0; i < p->n_layers; i++)
        sum += profile_code_bits(p, false, a->key[i]) + profile_code_bits(p, true, a->value[i]);
    return sum / (2 * p->n_layers);
}

/* The anchor's KL through all others. */
static double from_others(const predictor_anchor *anchors, uint32_t n, uint32_t left_out, predictor_anchor *others)
{
    predictor through;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (i != left_out) others[kept++] = anchors[i];
    if (!predictor_new(&through, others, kept)) return NAN;
    double kl = predictor_kl(&through, anchors[left_out].local_loss);
    predictor_free(&through);
    return kl;
}

static json_t *plan_pairs(const solution *s)
{
    const profile *p = s->profile;
    json_t *pairs = json_array();
    predictor_anchor *anchors = calloc(2 * p->n_anchors + 1, sizeof *anchors);
    for (uint32_t i = 0; anchors && i < p->n_anchors; i++)
        anchors[i] = (predictor_anchor){plan_loss(s, &p->anchors[i]), p->anchors[i].kl};
    for (uint32_t i = 0; anchors && p->n_anchors > 1 && i < p->n_anchors; i++) {
        double predicted = from_others(anchors, p->n_anchors, i, anchors + p->n_anchors);
        json_array_append_new(pairs, pair_json(json_sprintf("%.2f bits of codes", plan_codes(p, &p->anchors[i])),
                                               predicted, p->anchors[i].kl, p->anchors[i].kl_stderr));
    }
    free(anchors);
    return pairs;
}

static double local_loss(const profile *p, const profile_price *price)
{
    return profile_loss(p, price->values, price->layer, price->candidate);
}

static json_t *price_pair(const profile *p, const profile_price *price, double predicted)
{
    char spec[KVC_SPEC_MAX];
    kvc_codec_format(price->values ? &p->values[price->candidate] : &p->keys[price->candidate], spec);
    json_t *name = json_sprintf("layer %u %s %s", price->layer, price->values ? "values" : "keys", spec);
    return pair_json(name, predicted, price->kl, price->kl_stderr);
}

/* The item's price nearest, by ratio, to one bit: what --price anchor measures. */
static const profile_price *anchor_of(const profile *p, const profile_price *price)
{
    const profile_price *best = price;
    double least = INFINITY;
    for (uint32_t i = 0; i < p->n_prices; i++) {
        const profile_price *other = &p->prices[i];
        double away = fabs(log(profile_code_bits(p, other->values, other->candidate)));
        if (other->layer != price->layer || other->values != price->values || away >= least) continue;
        least = away;
        best = other;
    }
    return best;
}

static json_t *anchored_pairs(const profile *p)
{
    json_t *pairs = json_array();
    for (uint32_t i = 0; i < p->n_prices; i++) {
        const profile_price *price = &p->prices[i], *anchor = anchor_of(p, price);
        double ratio = local_loss(p, price) / local_loss(p, anchor);
        if (anchor != price) json_array_append_new(pairs, price_pair(p, price, ratio * anchor->kl));
    }
    return pairs;
}

/* KL over local loss, as a logarithm; false where either is zero. */
static bool log_ratio(const profile *p, const profile_price *price, double *out)
{
    *out = log(price->kl / local_loss(p, price));
    return isfinite(*out);
}

/* By one constant, the geometric mean of KL over local loss of all the others. */
static json_t *local_pairs(const profile *p)
{
    double sum = 0, ratio;
    uint32_t n = 0;
    json_t *pairs = json_array();
    for (uint32_t i = 0; i < p->n_prices; i++)
        if (log_ratio(p, &p->prices[i], &ratio)) sum += ratio, n++;
    for (uint32_t i = 0; i < p->n_prices; i++) {
        bool own = log_ratio(p, &p->prices[i], &ratio);
        uint32_t others = n - own;
        double constant = exp((sum - (own ? ratio : 0)) / others);
        if (others)
            json_array_append_new(pairs, price_pair(p, &p->prices[i], constant * local_loss(p, &p->prices[i])));
    }
    return pairs;
}

json_t *predictions_json(const solution *s)
{
    json_t *sets = json_array();
    add_set(sets, "plans, each from the others", plan_pairs(s));
    add_set(sets, "items, from one price", anchored_pairs(s->profile));
    add_set(sets, "items, from local losses", local_pairs(s->profile));
    return sets;
}
