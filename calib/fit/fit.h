/* fit.h - the constants of fitted codecs, from what calibration saw of one side of one layer.
 *
 * fit_data describes the side; fit_codec() makes the parameter block of one candidate, as libkvc's coder takes it.
 * One file per family: klt.c, rot.c, smooth.c, perm.c (transforms), table.c and seg.c over kmeans.c (lut, vq; seg).
 * Statistics and decompositions are in double; the result depends on the data and the seed alone, not on threads. */
#ifndef CALIB_FIT_FIT_H
#define CALIB_FIT_FIT_H
#include "backend.h"

/* One side (keys after RoPE, or values) of one layer; H KV heads of d channels. Borrowed. */
typedef struct fit_data {
    bool values;
    uint32_t n_kv_heads, head_dim;
    size_t n_rows;        /* sampled tokens R, sinks left out; may be 0 */
    const float *rows;    /* [H][R][d] */
    const float *weights; /* [H][R] sensitivity (methods.md section 3): >= 0, mean 1 over all, capped */
    const double *mean;   /* [H][d] weighted by sensitivity, over all tokens */
    const double *cov;    /* [H][d][d] weighted covariance, symmetric */
    const double *metric; /* [H][d][d] C_q for keys, M_v for values, symmetric, semidefinite */
    const double *absmax; /* [H][d] largest magnitude of each channel */
    /* d of the model, whose RoPE turns channels i and i + d / 2 together, where a row has several of its heads side
     * by side (join.h); 0: head_dim. */
    uint32_t model_head_dim;
} fit_data;

typedef struct fit_options {
    backend *b; /* whose k-means and decompositions are used; borrowed */
    uint64_t seed;
    size_t table_rows;   /* most sub-vectors that a table is fitted to */
    uint32_t restarts;   /* of k-means; the best is kept */
    uint32_t iterations; /* of k-means, at most */
    double ridge;        /* of klt's metric, relative to its mean eigenvalue */
} fit_options;
extern const fit_options fit_defaults; /* but for b */

/* Keeps what several candidates share: each transform is fitted once. */
typedef struct fit fit;
kvc_status fit_new(fit **out, const fit_data *data, const fit_options *options, kvc_error *err);
void fit_free(fit *f); /* NULL is fine */

/* Parameters of `codec` in pages of `page` tokens: *n bytes (0: the codec has none, *params NULL), 64-byte aligned.
 * Degenerate data (constant channels, fewer rows than centroids, no rows) give a codec that works. A fitted transform
 * must be the first of its chain: KVC_UNSUPPORTED otherwise. Owned: free(). */
typedef struct fitted {
    void *params;
    size_t n;
} fitted;
/* The same of several candidates, out [n]: tables of those that come one after another with the same transforms are
 * fitted at the same time. On failure nothing is owned and the message begins with the codec. */
kvc_status fit_codecs(fit *f, const kvc_codec *codecs, uint32_t n, uint32_t page, fitted *out, kvc_error *err);
kvc_status fit_codec(fit *f, const kvc_codec *codec, uint32_t page, void **params, size_t *n, kvc_error *err);
#endif
