/* cpu_internal.h - what the files of the CPU backend share.
 *
 * Threads: every operation is an OpenMP region over tasks that depend on the shapes alone, and BLAS is called
 * single-threaded inside them; so a task computes the same bits whoever runs it. */
#ifndef CALIB_BACKEND_CPU_INTERNAL_H
#define CALIB_BACKEND_CPU_INTERNAL_H
#include "backend.h"
#include "kvc/clones.h"

#include <stdbool.h>

/* One function, compiled for several instruction sets. */
#ifdef KVC_HAS_CLONES
#define CPU_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define CPU_CLONES
#endif

/* Less than this many operations are not worth waking threads for. */
#define CPU_SMALL 50000

static inline size_t cpu_min(size_t a, size_t b)
{
    return a < b ? a : b;
}
static inline size_t cpu_max(size_t a, size_t b)
{
    return a > b ? a : b;
}
static inline size_t cpu_blocks(size_t n, size_t block)
{
    return (n + block - 1) / block;
}

/* cpu.c: threads of OpenMP regions, 0 for all; BLAS has one. */
kvc_status cpu_set_threads(int threads, kvc_error *err);

/* cpu_softmax.c: x [n] in place; exp has a relative error below 2e-7. */
void cpu_softmax(float *x, size_t n);
/* One block of an online softmax. *max and *sum describe the row so far (-INFINITY and 0 at first). x [n]
 * becomes exp(x - new max); returns what everything accumulated so far is to be multiplied with. */
float cpu_softmax_step(float *x, size_t n, float *max, float *sum);
/* x = x / (1 + exp(-x)) * up */
void cpu_silu_mul_row(size_t n, float *x, const float *up);
/* For a block of logits: the largest value. */
float cpu_row_max(const float *x, size_t n);
/* *sum += sum of exp(x - max), *cross += sum of exp(x - max) (x - y), in double */
void cpu_exp_sums(const float *x, const float *y, size_t n, float max, double *sum, double *cross);

/* cpu_sensitivity_rows.c */
float cpu_dot(size_t n, const float *x, const float *y);
/* (x - y)'(mx - my) */
float cpu_dot_differences(size_t n, const float *x, const float *y, const float *mx, const float *my);
/* r = max(0, x + y - 2 r) */
void cpu_distance_row(size_t n, const float *x, float y, float *r);
/* With A = factor p: value += A^2, key += A^2 r; returns the sum of A^2 r. */
float cpu_weigh_row(size_t n, const float *p, float factor, const float *r, float *value, float *key);
/* out[j] = sum over i < d of |x[i] - y[i][j]|, rows of y ldy apart */
void cpu_absolute_differences(size_t n, size_t d, const float *x, const float *y, size_t ldy, float *out);
/* y += factor p x */
void cpu_add_products(size_t n, float factor, const float *p, const float *x, float *y);

kvc_status cpu_gemm(backend *b, size_t m, size_t n, size_t k, const float *x, const void *w, const float *bias,
                    int accumulate, float *y, kvc_error *err);
kvc_status cpu_output_metric(backend *b, size_t rows, size_t n_heads, size_t head_dim, const void *w, float *metric,
                             kvc_error *err);
kvc_status cpu_rmsnorm(backend *b, size_t rows, size_t dim, const float *x, const float *w, double eps, float *y,
                       kvc_error *err);
kvc_status cpu_rope(backend *b, size_t rows, size_t n_heads, size_t head_dim, const float *cosine, const float *sine,
                    float *x, kvc_error *err);
kvc_status cpu_silu_mul(backend *b, size_t n, float *gate, const float *up, kvc_error *err);
kvc_status cpu_attention(backend *b, const attention_args *args, kvc_error *err);
kvc_status cpu_transcode(backend *b, const kvc_coder *coder, const kvc_token_policy *policy, size_t n_tokens,
                         const float *x, float *exact, float *page, kvc_error *err);
kvc_status cpu_compare_logits(backend *b, size_t rows, size_t ref_rows, size_t first, size_t n, const float *ref,
                              const float *cfg, const uint32_t *targets, logit_sums *sums, kvc_error *err);
kvc_status cpu_probe(backend *b, const probe_args *a, kvc_error *err);
kvc_status cpu_row_power(backend *b, size_t rows, size_t width, const float *x, double *out, kvc_error *err);
kvc_status cpu_relative_error(backend *b, size_t n, const float *x, const float *y, double *sum, double *count,
                              kvc_error *err);
kvc_status cpu_column_stats(backend *b, size_t rows, size_t width, const float *x, double *sum, double *square,
                            double *min, double *max, kvc_error *err);
kvc_status cpu_sensitivity(backend *b, const sensitivity_args *a, kvc_error *err);
kvc_status cpu_moments(backend *b, size_t rows, size_t n_heads, size_t head_dim, const float *x,
                       const double *weights, size_t weight_stride, double *weight, double *first, double *second,
                       kvc_error *err);
kvc_status cpu_lloyd(backend *b, uint32_t n, lloyd_job *jobs, kvc_error *err);
/* cpu_eigen.c */
kvc_status cpu_eigen(backend *b, uint32_t n, size_t d, const double *a, double *values, double *vectors,
                     kvc_error *err);
#endif
