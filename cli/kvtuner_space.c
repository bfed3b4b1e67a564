/* kvtuner_space.c - see kvtuner_space.h. */
#include "kvtuner_space.h"
#include <stdlib.h>
#include <string.h>

static const uint8_t bits[KVTUNER_BITS] = {8, 4, 2};

/* How far a codec is from KIVI's of so many bits; -1: other bits, no int, or fitted: pairs of those have no errors.
 */
static int distance(const kvc_codec *codec, bool values, uint8_t wanted)
{
    kvc_codec plain;
    if (kvc_codec_parse(&plain, "int8", NULL) != KVC_OK) return -1;
    if (codec->symbol != plain.symbol || codec->bits != wanted || codec->param_bytes) return -1;
    bool scale = codec->scale == (values ? KVC_SCALE_TOK : KVC_SCALE_CH);
    return 8 * (codec->flags != 0) + 4 * !scale + 2 * (codec->n_transforms > 0) + (codec->group != 32);
}

/* The candidate that is nearest (of equals the first), or -1. */
static int find(const profile *p, bool values, const bool *allowed, uint8_t wanted)
{
    int best = -1, least = 0;
    for (uint32_t i = 0; i < (values ? p->n_values : p->n_keys); i++) {
        int d = distance(values ? &p->values[i] : &p->keys[i], values, wanted);
        if (d < 0 || (allowed && !allowed[i]) || (best >= 0 && d >= least)) continue;
        best = (int)i;
        least = d;
    }
    return best;
}

static kvc_status find_side(const profile *p, bool values, const bool *allowed, bool **mask, uint16_t *option,
                            kvc_error *err)
{
    int candidate[KVTUNER_BITS];
    *mask = calloc(values ? p->n_values : p->n_keys, sizeof **mask);
    if (!*mask) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for candidates");
    for (int i = 0; i < KVTUNER_BITS; i++) {
        candidate[i] = find(p, values, allowed, bits[i]);
        if (candidate[i] < 0)
            return kvc_fail(
                err, KVC_INPUT,
                "--method kvtuner chooses among int codecs of 8, 4 and 2 bits, and no candidate for %s is "
                "an int%u (configs/recipes/kvtuner.yaml, with configs/spaces/kivi.yaml, has them)",
                values ? "values" : "keys", bits[i]);
        (*mask)[candidate[i]] = true;
    }
    for (int i = 0; i < KVTUNER_BITS; i++) {
        option[i] = 0;
        for (int j = 0; j < KVTUNER_BITS; j++) option[i] += candidate[j] < candidate[i];
    }
    return KVC_OK;
}

kvc_status kvtuner_space_new(kvtuner_space *out, const profile *p, const candidate_filter *only, kvc_error *err)
{
    *out = (kvtuner_space){.filter.alike = true};
    kvc_status status = find_side(p, false, only ? only->keys : NULL, &out->filter.keys, out->key, err);
    if (status == KVC_OK)
        status = find_side(p, true, only ? only->values : NULL, &out->filter.values, out->value, err);
    if (status != KVC_OK) kvtuner_space_free(out);
    return status;
}

kvc_status kvtuner_space_group(kvtuner_space *space, const profile *p, const priced *priced, kvc_error *err)
{
    const cost_table *t = &priced->table;
    space->error = malloc((size_t)p->n_layers * KVTUNER_PAIRS * sizeof *space->error);
    if (!space->error) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for pairs");
    for (int pair = 0; pair < KVTUNER_PAIRS; pair++) {
        uint16_t k = space->key[pair / KVTUNER_BITS], v = space->value[pair % KVTUNER_BITS];
        size_t key = priced->candidate[0][k], value = priced->candidate[1][v];
        space->bytes[pair] = t->options[0][k].bytes + t->options[1][v].bytes;
        for (uint32_t l = 0; l < p->n_layers; l++)
            space->error[(size_t)l * KVTUNER_PAIRS + pair] =
                p->e_o[(l * (size_t)p->n_keys + key) * p->n_values + value];
    }
    space->layers = (kvtuner_layers){p->n_layers, KVTUNER_PAIRS, space->bytes, space->error};
    return search_failed(kvtuner_group(&space->layers, KVTUNER_EPS, KVTUNER_MIN_SAMPLES, &space->groups), err);
}

void kvtuner_space_free(kvtuner_space *space)
{
    free(space->filter.keys);
    free(space->filter.values);
    free(space->error);
    kvtuner_groups_free(&space->groups);
    *space = (kvtuner_space){0};
}

void kvtuner_space_choice(const kvtuner_space *space, const uint16_t *pairs, uint16_t *choice)
{
    for (uint32_t l = 0; l < space->layers.n_layers; l++) {
        choice[2 * l] = space->key[pairs[l] / KVTUNER_BITS];
        choice[2 * l + 1] = space->value[pairs[l] % KVTUNER_BITS];
    }
}
