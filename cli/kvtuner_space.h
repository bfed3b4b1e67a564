/* kvtuner_space.h - a profile as KVTuner sees it: nine pairs of 8, 4 and 2 bits, and layers in groups. */
#ifndef CLI_KVTUNER_SPACE_H
#define CLI_KVTUNER_SPACE_H
#include "cost.h"
#include "kvtuner.h"

enum { KVTUNER_BITS = 3, KVTUNER_PAIRS = 9 };

typedef struct kvtuner_space {
    candidate_filter filter;                         /* the six candidates, alike in all layers */
    uint16_t key[KVTUNER_BITS], value[KVTUNER_BITS]; /* options of them, in a table of that filter: 8, 4 and 2 bits */
    uint64_t bytes[KVTUNER_PAIRS];                   /* of a layer; pair 3 k + v */
    double *error;                                   /* [n_layers][KVTUNER_PAIRS] e_o */
    kvtuner_layers layers;
    kvtuner_groups groups;
} kvtuner_space;

/* The candidates: int keys with scales per channel in groups of 32 tokens and int values with scales per token in
 * groups of 32 channels (KIVI) where the profile has them; else other groups, then with transforms, then whatever has
 * the bits. KVC_INPUT names what is missing. `only` may be NULL. */
kvc_status kvtuner_space_new(kvtuner_space *out, const profile *p, const candidate_filter *only, kvc_error *err);
/* Groups of layers, by bytes of a table made with out->filter and the profile's output errors. */
kvc_status kvtuner_space_group(kvtuner_space *space, const profile *p, const priced *priced, kvc_error *err);
void kvtuner_space_free(kvtuner_space *space);
/* choice [2 n_layers] options, from pairs [n_layers]. */
void kvtuner_space_choice(const kvtuner_space *space, const uint16_t *pairs, uint16_t *choice);
#endif
