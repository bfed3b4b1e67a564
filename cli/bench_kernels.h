/* bench_kernels.h - folders of kernels for configurations of one layer (bench_layers.h), which libkvc_cuda knows by
 * identities of their own. A layer's has a link to the image that serves it in the whole configuration's folder; that
 * of fp16 is compiled. All in a temporary folder. */
#ifndef CLI_BENCH_KERNELS_H
#define CLI_BENCH_KERNELS_H
#include "bench.h"

typedef struct bench_kernels {
    char folder[4096]; /* temporary */
    char from[4096];   /* the whole configuration's, from the root */
    char *list;        /* its kernels.list */
    char arch[16];
    bool softcap; /* of a model that caps its scores */
} bench_kernels;

/* KVC_MISMATCH: kernels of another configuration or version. To be freed whether or not it succeeds. */
kvc_status bench_kernels_open(bench_kernels *out, const bench_place *place, kvc_error *err);
/* Removes the temporary folder. */
void bench_kernels_close(bench_kernels *k);
/* The folder of a layer's. KVC_UNSUPPORTED: there is no compiler for fp16. */
kvc_status bench_kernels_of(const bench_kernels *k, const bench_layer *layer, char folder[4200], kvc_error *err);
#endif
