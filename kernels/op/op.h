/* op.h - the operations of a forward pass and of its measurements on the GPU, other than matrix products.
 *
 * Raw device pointers and a stream: nothing is allocated and every call is asynchronous. fp32 unless said, pointers
 * of any alignment that their type has. Sums have a fixed order and no float is added atomically: the same GPU gives
 * the same bits. Calls of size 0 do nothing. Returned is what the launch says. */
#ifndef KERNELS_OP_OP_H
#define KERNELS_OP_OP_H
#include <cuda_runtime_api.h>
#include "kvc/kvc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cudaSuccess where this build has code for the current device. */
cudaError_t op_check_device(void);

/* ---- forward pass ------------------------------------------------------------------------------------------- */

/* y = x / sqrt(mean(x^2) + eps) * w per row; y may be x. The mean in double. half: y as bfloat16 too, unless NULL. */
cudaError_t op_rmsnorm(size_t rows, size_t dim, const float *x, const float *w, double eps, float *y, void *half,
                       cudaStream_t stream);
/* x [rows][n_heads][d] in place, channel i with i + d/2; cosine, sine [rows][d/2] */
cudaError_t op_rope(size_t rows, size_t n_heads, size_t head_dim, const float *cosine, const float *sine, float *x,
                    cudaStream_t stream);
/* gate = silu(gate) * up, and half as above */
cudaError_t op_silu_mul(size_t n, float *gate, const float *up, void *half, cudaStream_t stream);
/* y [rows][n] = bias, or += bias where `accumulate` */
cudaError_t op_add_bias(size_t rows, size_t n, const float *bias, int accumulate, float *y, cudaStream_t stream);
/* y [n] = x as bfloat16, to nearest even */
cudaError_t op_to_bf16(size_t n, const float *x, void *y, cudaStream_t stream);
/* y [n] = bfloat16 x as fp32 */
cudaError_t op_from_bf16(size_t n, const void *x, float *y, cudaStream_t stream);
/* out [n][width]: row rows[i] of x */
cudaError_t op_gather_rows(size_t n, size_t width, const float *x, const size_t *rows, float *out,
                           cudaStream_t stream);
/* y = x rounded to fp16, finite values beyond its range to +-65504; y may be x. *nonfinite becomes 1 where an x is
 * NaN or infinite, else stays. */
cudaError_t op_round_fp16(size_t n, const float *x, float *y, uint32_t *nonfinite, cudaStream_t stream);

/* Causal attention as backend.h defines it: of each sequence, one behind another, q, out [T][n_heads][d], k, v,
 * k_page, v_page [T][n_kv_heads][d]; with k_page or v_page (NULL: not) decode-faithful. d <= 512; more than 256 takes
 * 136 KiB of shared memory. */
typedef struct op_attention_args {
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim;
    float scale;
    const float *q, *k, *v, *k_page, *v_page;
    kvc_token_policy policy;
    float *out;
    uint32_t n_sequences; /* in one launch: the blocks of one leave a third of a GPU idle at its end */
} op_attention_args;
cudaError_t op_attention(const op_attention_args *args, cudaStream_t stream);
/* The same with rows rounded to fp16, by tensor cores; d <= OP_HALF_DIM. */
#define OP_HALF_DIM 128
cudaError_t op_attention_half(const op_attention_args *args, cudaStream_t stream);

/* Reads n_bytes, a multiple of 16, once and keeps nothing: how fast memory can be read. *unused is for a sum that the
 * compiler cannot leave out. */
cudaError_t op_stream_read(const void *bytes, size_t n_bytes, uint32_t *unused, cudaStream_t stream);

/* ---- sums over rows and columns, in double ------------------------------------------------------------------- */

#define OP_PARTS 64 /* into which long sums are cut */

/* out [rows] */
cudaError_t op_row_power(size_t rows, size_t width, const float *x, double *out, cudaStream_t stream);
/* parts [OP_PARTS][2]: sum of |x - y| / |x| where x is not 0, number of those */
cudaError_t op_relative_error(size_t n, const float *x, const float *y, double *parts, cudaStream_t stream);
/* out [4][width]: sum, sum of squares, minimum, maximum of the columns of x [rows][width]; parts [OP_PARTS][4][width]
 * scratch */
cudaError_t op_column_stats(size_t rows, size_t width, const float *x, double *parts, double *out,
                            cudaStream_t stream);
/* out[i] += sum of values[i][0 .. n), i < count */
cudaError_t op_add_sums(size_t count, size_t n, const double *values, double *out, cudaStream_t stream);
/* For moments by matrix products. rows x [rows][n_heads][d], weights [n_heads][weight_stride]; written, all double:
 *     y [n_heads][rows][width] = x, 1, 0 ...      z [n_heads][rows][width] = w x, w, 0 ...      width > d */
cudaError_t op_weighted_rows(size_t rows, size_t n_heads, size_t head_dim, const float *x, const double *weights,
                             size_t weight_stride, size_t width, double *y, double *z, cudaStream_t stream);

/* What is known of one row of two models' logits, as logit_sums in backend.h. */
typedef struct op_logit_sums {
    float max_ref, max_cfg, target_ref, target_cfg;
    double sum_ref, sum_cfg, cross;
    uint32_t top_ref, top_cfg;
} op_logit_sums;
/* cfg [rows][n] beside ref [ref_rows][n], row r beside row r mod ref_rows: vocabulary entries [first, first + n);
 * they may be the same. targets [ref_rows], sums [rows] */
cudaError_t op_compare_logits(size_t rows, size_t ref_rows, size_t first, size_t n, const float *ref,
                              const float *cfg, const uint32_t *targets, op_logit_sums *sums, cudaStream_t stream);

/* ---- k-means ------------------------------------------------------------------------------------------------- */

/* A table's points and centroids, packed as in calib/backend/nearest.h. */
typedef struct op_lloyd_job {
    size_t n;                            /* points */
    uint32_t dims, k, slots, iterations; /* of 1, 2, 4, 8, 16; centroids, rounded up to 16; at most */
    const float *x, *w;                  /* [groups][dims][16], [groups][16] */
    float *c, *half, *kept;              /* [slots / 16][dims][16], [slots] |c|^2 / 2, scratch as c */
    uint32_t *label;                     /* [groups][16] */
    double *sums;                        /* [k][dims + 1] */
    float *cost;                         /* [groups][16] */
    double energy, distortion;           /* sum of w |x|^2; out: of w |x - c|^2 */
    uint32_t done;                       /* 0 */
} op_lloyd_job;
/* Lloyd's iterations of n jobs, which lie in device memory: c becomes the result. `most` of all jobs. */
cudaError_t op_lloyd(uint32_t n, op_lloyd_job *jobs, size_t most_points, uint32_t most_k, uint32_t most_iterations,
                     cudaStream_t stream);

/* ---- strips: some query rows of all heads against the keys that they see --------------------------------------- */

/* Row r of a strip, r < n, is the query at positions[r], or at first + r where positions is NULL. */
typedef struct op_rows {
    const uint32_t *positions;
    uint32_t first, n;
} op_rows;

/* out [n_heads][n][d] = q [T][n_heads][d] * scale */
cudaError_t op_gather_queries(op_rows rows, uint32_t n_heads, uint32_t head_dim, const float *q, float scale,
                              float *out, cudaStream_t stream);
/* to [n][n_heads][d] = from [n_heads][n][ld], its first d columns */
cudaError_t op_scatter_rows(uint32_t n, uint32_t n_heads, uint32_t head_dim, const float *from, size_t ld, float *to,
                            cudaStream_t stream);

/* Softmax of the rows of a strip [n_heads][n][ld], each as far as its query sees and 0 from there to `visible`. */
typedef struct op_strip {
    op_rows rows;
    uint32_t n_heads;
    kvc_token_policy policy;
    size_t visible, ld;  /* columns of the last row, of the memory */
    const float *scores; /* may be out, unless there is `exact` */
    float *out;
    /* NULL, or the exact probabilities: then out holds a candidate's scores of the compressed keys (of `scores` come
     * the others) and becomes its probabilities minus the exact ones. */
    const float *exact;
    double *change;    /* with exact: [n_heads][n], sum of |out| of each row */
    size_t compressed; /* of the last row */
    float *inside; /* NULL, or [n_heads][n][compressed]: the probabilities of each row's compressed keys, else 0 */
} op_strip;
cudaError_t op_softmax(const op_strip *strip, cudaStream_t stream);

/* to [n_kv_heads][n][n_values][d], part `index` of n_values: page - exact of n tokens, [n][n_kv_heads][d] each */
cudaError_t op_value_errors(size_t n, uint32_t n_kv_heads, uint32_t head_dim, const float *page, const float *exact,
                            uint32_t index, uint32_t n_values, float *to, cudaStream_t stream);
/* errors [n_values][rows] = sum over d of |key + value| / (|out| + 1e-30); out, key [rows][d], value
 * [rows][n_values][d] */
cudaError_t op_pair_errors(size_t rows, uint32_t n_values, uint32_t head_dim, const float *out, const float *key,
                           const float *value, double *errors, cudaStream_t stream);

/* ---- sensitivity, names as in calib/backend/cpu_sensitivity.c ----------------------------------------------------
 */

/* out = v - sums / n_tokens; v, out [n_tokens][width], sums [width] */
cudaError_t op_centre(size_t n_tokens, size_t width, const float *v, const double *sums, float *out,
                      cudaStream_t stream);
/* out [n_heads][rows] = x.y; y [n_heads][rows][d]; row r of head h of x is at x + h / share * head_stride + r *
 * row_stride */
cudaError_t op_row_dots(size_t rows, uint32_t n_heads, uint32_t head_dim, const float *x, uint32_t share,
                        size_t head_stride, size_t row_stride, const float *y, float *out, cudaStream_t stream);

typedef struct op_weights {
    op_rows rows; /* consecutive: positions NULL */
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim;
    kvc_token_policy policy;
    size_t ld, compressed;          /* row stride of `attention`; compressed keys of the last row */
    float *attention;               /* [n_heads][n][ld] A; becomes 0 where a row's key is not compressed */
    float *r;                       /* [n_heads][n][compressed]: O'M V, becomes r */
    const float *v;                 /* [T][n_kv_heads][d] centred */
    const float *metric_v;          /* [n_heads][T][d] M V */
    const float *power_v;           /* [n_heads][T] V'M V */
    const float *o, *mo;            /* [n_heads][n][d] O, M O */
    const float *power_o, *power_q; /* [n_heads][n] O'M O, |q|^2 of queries times scale */
    double *query_weight;           /* [n_heads][T], written for these rows */
    double *key_weight, *value_weight, *anchor_score; /* [n_kv_heads][T], added to; anchor_score may be NULL */
} op_weights;
/* r, the mask of A, query_weight */
cudaError_t op_distances(const op_weights *args, cudaStream_t stream);
/* key_weight, value_weight, after op_distances() */
cudaError_t op_weigh_keys(const op_weights *args, cudaStream_t stream);
/* anchor_score, after op_distances() */
cudaError_t op_anchor_scores(const op_weights *args, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
