/* report_doc_layers.c - each layer's sides: what they were given, and how sensitive they are: the loss that decisions
 * add up, of one spec for all layers. */
#include "report_doc_part.h"
#include <math.h>

#define REFERENCE_BITS 2.0 /* where sides differ most */

/* The candidate nearest, by ratio, to the reference rate. */
static uint32_t reference(const profile *p, bool values)
{
    uint32_t best = 0;
    double least = INFINITY;
    for (uint32_t i = 0; i < (values ? p->n_values : p->n_keys); i++) {
        double away = fabs(log(profile_code_bits(p, values, i) / REFERENCE_BITS));
        if (away < least) least = away, best = i;
    }
    return best;
}

static json_t *spec_json(const profile *p, bool values, uint32_t candidate)
{
    char spec[KVC_SPEC_MAX];
    kvc_codec_format(values ? &p->values[candidate] : &p->keys[candidate], spec);
    return json_string(spec);
}

static json_t *side_json(const solution *s, uint32_t item)
{
    bool values = item % 2;
    uint16_t candidate = solution_candidate(s, &s->chosen, item);
    double sensitivity = s->priced.loss[item][reference(s->profile, values)];
    return json_pack("{s:o,s:o,s:o}", "spec", spec_json(s->profile, values, candidate), "bits",
                     number_json(profile_code_bits(s->profile, values, candidate)), "sensitivity",
                     number_json(sensitivity));
}

json_t *layers_json(const solution *s)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < s->profile->n_layers; i++)
        json_array_append_new(list,
                              json_pack("{s:o,s:o}", "key", side_json(s, 2 * i), "value", side_json(s, 2 * i + 1)));
    return list;
}

json_t *sensitivity_json(const solution *s)
{
    const profile *p = s->profile;
    const char *measure = s->priced.from_prices ? "KL of the whole model with this side alone compressed"
                                                : "what this side alone adds to the residual stream, relative to it";
    return json_pack("{s:s,s:o,s:o}", "measure", measure, "key", spec_json(p, false, reference(p, false)), "value",
                     spec_json(p, true, reference(p, true)));
}
