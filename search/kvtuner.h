/* kvtuner.h - KVTuner's search (ICML 2025), to compare with at equal evaluations: in each layer the pairs that are
 * worth having by (bytes, output error), layers with equal pairs clustered by their errors (DBSCAN), and one pair per
 * group found by NSGA-II on bytes and on a loss that the caller measures.
 *
 * Layers that DBSCAN leaves as noise are groups of their own, which the paper does not say. The plans of each group's
 * cheapest pairs and of its dearest are evaluated first, so that whatever is feasible has a plan. */
#ifndef SEARCH_KVTUNER_H
#define SEARCH_KVTUNER_H
#include "cost_table.h"

#define KVTUNER_EPS 0.05
#define KVTUNER_MIN_SAMPLES 2

typedef struct kvtuner_layers {
    uint32_t n_layers, n_pairs;
    const uint64_t *bytes; /* [n_pairs] of a layer */
    const double *error;   /* [n_layers][n_pairs] finite */
} kvtuner_layers;

typedef struct kvtuner_groups {
    uint32_t n, n_noise; /* groups; those of them that are a layer of noise */
    uint32_t *of;        /* [n_layers] its group, numbered by first layer */
    uint16_t *n_pairs;   /* [n] */
    uint16_t *pairs;     /* [n][n_pairs of layers]: worth having, by rising bytes and falling error */
} kvtuner_groups;

/* SEARCH_INVALID for no layers, no pairs, more than 4096 of them, or errors that are not finite. Owned:
 * kvtuner_groups_free(). */
search_status kvtuner_group(const kvtuner_layers *layers, double eps, uint32_t min_samples, kvtuner_groups *out);
void kvtuner_groups_free(kvtuner_groups *g);

typedef struct kvtuner_record { /* a plan that was measured, to be kept */
    uint64_t plan;              /* kvtuner_plan() */
    double loss;
} kvtuner_record;
/* The identity of a plan: a hash of choice [n_layers]. */
uint64_t kvtuner_plan(const uint16_t *choice, uint32_t n_layers);

typedef struct kvtuner_options {
    uint64_t budget;      /* bytes that are aimed at, of all layers; UINT64_MAX: none */
    uint32_t population;  /* 0: 50 */
    uint32_t evaluations; /* plans at most, those of the log included */
    uint64_t seed;
    const kvtuner_record *log; /* of an earlier run: not asked again */
    size_t n_log;
    /* choice [n_layers] of pairs; 0, or another number to end the search there. */
    int (*evaluate)(void *context, const uint16_t *choice, double *loss);
    void *context;
} kvtuner_options;

typedef struct kvtuner_result {
    front front;          /* of the plans evaluated; choices [n_layers] of pairs; front_free() */
    uint32_t used, asked; /* plans evaluated; those of them that were not in the log */
    int stopped;          /* what evaluate() returned, if not 0 */
} kvtuner_result;

/* SEARCH_INVALID also for a loss that is not finite, SEARCH_INFEASIBLE if nothing was evaluated. */
search_status kvtuner_search(const kvtuner_layers *layers, const kvtuner_groups *groups,
                             const kvtuner_options *options, kvtuner_result *out);
#endif
