/* kvtuner_front.h - --method kvtuner: the front of the plans that its search evaluates. */
#ifndef CLI_KVTUNER_FRONT_H
#define CLI_KVTUNER_FRONT_H
#include "kvtuner_space.h"

/* What a plan [2 n_layers] of options loses; `plan` is its identity in logs. 0, or another number to end the search
 * there. */
typedef struct kvtuner_loss {
    int (*evaluate)(void *context, const uint16_t *choice, uint64_t plan, double *loss);
    void *context;
} kvtuner_loss;

typedef struct kvtuner_search_options {
    uint64_t budget; /* bytes that are aimed at; UINT64_MAX: none */
    uint32_t evaluations;
    uint64_t seed;
    const kvtuner_record *log; /* what was evaluated before */
    size_t n_log;
} kvtuner_search_options;

/* Front of plans [2 n_layers] of options, by the losses given. A call that ended the search: *stopped is its number
 * and the front may be empty. */
kvc_status kvtuner_front(front *out, int *stopped, const kvtuner_space *space, const kvtuner_search_options *options,
                         const kvtuner_loss *loss, kvc_error *err);
/* With the losses of the table. */
kvc_status kvtuner_front_predicted(front *out, const kvtuner_space *space, const priced *priced,
                                   const kvtuner_search_options *options, kvc_error *err);
#endif
