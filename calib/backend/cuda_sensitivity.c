/* cuda_sensitivity.c - how much the loss feels each key, value and query (backend.h, sensitivity; the method and its
 * letters are those of cpu_sensitivity.c).
 *
 * Queries go in strips of n, all heads at once; row i of query head h is row h n + i, so that the G heads of a group
 * are the M = G n rows of one product per KV head. V is centred first. Two passes over a strip's scores:
 *   1. A = softmax(Q K'), O = A V, M_h O          keys up to the last query
 *   2. r from (M_h O) V', O'M O, V'M V            compressed keys alone; then sums of A^2 and A^2 r, and the anchor
 * score Products in fp32 by cuBLAS, sums over a strip's rows and over strips in double, in a fixed order. Cost: 6 d
 * flops and one exponential per score, the anchor score another 2 d. Memory: two strips [n_heads][n][T], STRIP floats
 * together unless 8 queries need more; V centred, M V. */
#include "cuda_internal.h"

#include <string.h>

#define STRIP ((size_t)1 << 26)
#define LONGEST 256 /* queries of a strip: above the diagonal all is computed in vain */

typedef struct job {
    const sensitivity_args *a;
    size_t T, H, kv, d, G;
    size_t n, ld;                                          /* queries of a full strip, its row stride */
    float *v, *metric, *metric_v, *power_v;                /* [T][kv][d], [H][d][d], [H][T][d], [H][T] */
    float *q, *o, *mo, *attention, *r, *power_o, *power_q; /* [H][n][d] thrice, [H][n][ld] twice, [H][n] twice */
    double *parts, *stats;                                 /* of the values' mean */
    double *query, *key, *value, *anchor;                  /* [H][T], [kv][T] thrice */
} job;

static job plan_job(const sensitivity_args *a)
{
    job j = {.a = a, .T = a->n_tokens, .H = a->n_heads, .kv = a->n_kv_heads, .d = a->head_dim};
    j.G = j.H / j.kv;
    j.ld = (j.T + 3) & ~(size_t)3;
    j.n = STRIP / (2 * j.H * j.ld);
    j.n = j.n < 8 ? 8 : j.n > LONGEST ? LONGEST : j.n;
    j.n = j.n < j.T ? j.n : j.T;
    return j;
}

#define N_PARTS 17

static void list_parts(job *j, cuda_part out[N_PARTS])
{
    size_t width = j->kv * j->d, f = sizeof(float), g = sizeof(double);
    const cuda_part parts[N_PARTS] = {{&j->v, j->T * width * f},
                                      {&j->metric, j->H * j->d * j->d * f},
                                      {&j->metric_v, j->H * j->T * j->d * f},
                                      {&j->power_v, j->H * j->T * f},
                                      {&j->q, j->H * j->n * j->d * f},
                                      {&j->o, j->H * j->n * j->d * f},
                                      {&j->mo, j->H * j->n * j->d * f},
                                      {&j->attention, j->H * j->n * j->ld * f},
                                      {&j->r, j->H * j->n * j->ld * f},
                                      {&j->power_o, j->H * j->n * f},
                                      {&j->power_q, j->H * j->n * f},
                                      {&j->parts, OP_PARTS * 4 * width * g},
                                      {&j->stats, 4 * width * g},
                                      {&j->query, j->H * j->T * g},
                                      {&j->key, j->kv * j->T * g},
                                      {&j->value, j->kv * j->T * g},
                                      {&j->anchor, j->a->anchor_score ? j->kv * j->T * g : 0}};
    memcpy(out, parts, sizeof parts);
}

static kvc_status job_scratch(cuda_state *s, job *j, kvc_error *err)
{
    cuda_part parts[N_PARTS];
    list_parts(j, parts);
    return cuda_scratch(s, parts, N_PARTS, err);
}

/* With the anchor score. */
size_t cuda_sensitivity_bytes(const scratch_shape *s)
{
    double unused;
    const sensitivity_args a = {.n_tokens = (uint32_t)s->n_tokens,
                                .n_heads = (uint32_t)s->n_heads,
                                .n_kv_heads = (uint32_t)s->n_kv_heads,
                                .head_dim = (uint32_t)s->head_dim,
                                .anchor_score = &unused};
    job j = plan_job(&a);
    cuda_part parts[N_PARTS];
    list_parts(&j, parts);
    return cuda_parts_bytes(parts, N_PARTS);
}

static kvc_status clear_sums(cuda_state *s, const job *j, kvc_error *err)
{
    size_t bytes = j->kv * j->T * sizeof(double);
    KVC_TRY_CUDA(cudaMemsetAsync(j->query, 0, j->H * j->T * sizeof(double), s->compute));
    KVC_TRY_CUDA(cudaMemsetAsync(j->key, 0, bytes, s->compute));
    KVC_TRY_CUDA(cudaMemsetAsync(j->value, 0, bytes, s->compute));
    if (j->a->anchor_score) KVC_TRY_CUDA(cudaMemsetAsync(j->anchor, 0, bytes, s->compute));
    return KVC_OK;
}

/* V centred, M_h V and V' M_h V. Query heads g, g + G, ... read different KV heads in order: one batch. */
static kvc_status prepare_values(cuda_state *s, const job *j, kvc_error *err)
{
    const sensitivity_args *a = j->a;
    size_t width = j->kv * j->d, square = j->d * j->d;
    KVC_TRY(cuda_put(s, j->metric, a->output_metric, j->H * square * sizeof(float), err));
    KVC_TRY_CUDA(op_column_stats(j->T, width, a->v, j->parts, j->stats, s->compute));
    KVC_TRY_CUDA(op_centre(j->T, width, a->v, j->stats, j->v, s->compute));
    for (size_t g = 0; g < j->G; g++) {
        const cuda_product p = {.batch = j->kv,
                                .m = j->T,
                                .n = j->d,
                                .k = j->d,
                                .a = j->v,
                                .lda = width,
                                .stride_a = j->d,
                                .b = j->metric + g * square,
                                .ldb = j->d,
                                .stride_b = j->G * square,
                                .c = j->metric_v + g * j->T * j->d,
                                .ldc = j->d,
                                .stride_c = j->G * j->T * j->d};
        KVC_TRY(cuda_multiply(s, &p, err));
    }
    KVC_TRY_CUDA(op_row_dots(j->T, a->n_heads, a->head_dim, j->v, (uint32_t)j->G, j->d, width, j->metric_v,
                             j->power_v, s->compute));
    return KVC_OK;
}

/* out [h][n][ld] = x y' with rows x [h][n][d] and keys or values y, row stride of one token */
static kvc_status against_rows(cuda_state *s, const job *j, size_t n, const float *x, const float *y, size_t n_rows,
                               size_t ld, float *out, kvc_error *err)
{
    size_t M = j->G * n;
    const cuda_product p = {.batch = j->kv,
                            .m = M,
                            .n = n_rows,
                            .k = j->d,
                            .a = x,
                            .lda = j->d,
                            .stride_a = M * j->d,
                            .b = y,
                            .ldb = j->kv * j->d,
                            .stride_b = j->d,
                            .turn_b = true,
                            .c = out,
                            .ldc = ld,
                            .stride_c = M * ld};
    return cuda_multiply(s, &p, err);
}

static kvc_status attend(cuda_state *s, const job *j, op_rows rows, size_t visible, kvc_error *err)
{
    const sensitivity_args *a = j->a;
    size_t M = j->G * rows.n;
    const op_strip softmax = {.rows = rows,
                              .n_heads = a->n_heads,
                              .policy = a->policy,
                              .visible = visible,
                              .ld = j->ld,
                              .scores = j->attention,
                              .out = j->attention};
    const cuda_product outputs = {.batch = j->kv,
                                  .m = M,
                                  .n = j->d,
                                  .k = visible,
                                  .a = j->attention,
                                  .lda = j->ld,
                                  .stride_a = M * j->ld,
                                  .b = j->v,
                                  .ldb = j->kv * j->d,
                                  .stride_b = j->d,
                                  .c = j->o,
                                  .ldc = j->d,
                                  .stride_c = M * j->d};
    KVC_TRY_CUDA(op_gather_queries(rows, a->n_heads, a->head_dim, a->q, a->scale, j->q, s->compute));
    KVC_TRY(against_rows(s, j, rows.n, j->q, a->k, visible, j->ld, j->attention, err));
    KVC_TRY_CUDA(op_softmax(&softmax, s->compute));
    return cuda_multiply(s, &outputs, err);
}

/* mo = M_h O, O' M_h O and, for the anchor score, |q|^2 */
static kvc_status measure_outputs(cuda_state *s, const job *j, size_t n, kvc_error *err)
{
    const sensitivity_args *a = j->a;
    const cuda_product p = {.batch = j->H,
                            .m = n,
                            .n = j->d,
                            .k = j->d,
                            .a = j->o,
                            .lda = j->d,
                            .stride_a = n * j->d,
                            .b = j->metric,
                            .ldb = j->d,
                            .stride_b = j->d * j->d,
                            .c = j->mo,
                            .ldc = j->d,
                            .stride_c = n * j->d};
    KVC_TRY(cuda_multiply(s, &p, err));
    KVC_TRY_CUDA(op_row_dots(n, a->n_heads, a->head_dim, j->o, 1, n * j->d, j->d, j->mo, j->power_o, s->compute));
    if (a->anchor_score)
        KVC_TRY_CUDA(op_row_dots(n, a->n_heads, a->head_dim, j->q, 1, n * j->d, j->d, j->q, j->power_q, s->compute));
    return KVC_OK;
}

static kvc_status weigh(cuda_state *s, const job *j, op_rows rows, size_t compressed, kvc_error *err)
{
    const sensitivity_args *a = j->a;
    const op_weights w = {.rows = rows,
                          .n_tokens = a->n_tokens,
                          .n_heads = a->n_heads,
                          .n_kv_heads = a->n_kv_heads,
                          .head_dim = a->head_dim,
                          .policy = a->policy,
                          .ld = j->ld,
                          .compressed = compressed,
                          .attention = j->attention,
                          .r = j->r,
                          .v = j->v,
                          .metric_v = j->metric_v,
                          .power_v = j->power_v,
                          .o = j->o,
                          .mo = j->mo,
                          .power_o = j->power_o,
                          .power_q = j->power_q,
                          .query_weight = j->query,
                          .key_weight = j->key,
                          .value_weight = j->value,
                          .anchor_score = j->anchor};
    KVC_TRY(
        against_rows(s, j, rows.n, j->mo, j->v + a->policy.sinks * j->kv * j->d, compressed, compressed, j->r, err));
    KVC_TRY_CUDA(op_distances(&w, s->compute));
    KVC_TRY_CUDA(op_weigh_keys(&w, s->compute));
    if (a->anchor_score) KVC_TRY_CUDA(op_anchor_scores(&w, s->compute));
    return KVC_OK;
}

static kvc_status run_strips(cuda_state *s, const job *j, kvc_error *err)
{
    for (size_t first = 0; first < j->T; first += j->n) {
        size_t end = first + j->n < j->T ? first + j->n : j->T;
        size_t compressed = kvc_tokens_compressed(&j->a->policy, end);
        op_rows rows = {.first = (uint32_t)first, .n = (uint32_t)(end - first)};
        if (compressed == 0) continue;
        KVC_TRY(attend(s, j, rows, end, err));
        KVC_TRY(measure_outputs(s, j, rows.n, err));
        KVC_TRY(weigh(s, j, rows, compressed, err));
    }
    return KVC_OK;
}

kvc_status cuda_sensitivity(backend *b, const sensitivity_args *a, kvc_error *err)
{
    cuda_state *s = b->state;
    if (a->n_tokens == 0) return KVC_OK;
    job j = plan_job(a);
    size_t bytes = j.kv * j.T * sizeof(double);
    KVC_TRY(CUDA_BEGIN(b, err, a->q, a->k, a->v));
    KVC_TRY(job_scratch(s, &j, err));
    KVC_TRY(clear_sums(s, &j, err));
    KVC_TRY(prepare_values(s, &j, err));
    KVC_TRY(run_strips(s, &j, err));
    KVC_TRY(cuda_fetch(s, a->query_weight, j.query, j.H * j.T * sizeof(double), err));
    KVC_TRY(cuda_fetch(s, a->key_weight, j.key, bytes, err));
    KVC_TRY(cuda_fetch(s, a->value_weight, j.value, bytes, err));
    return a->anchor_score ? cuda_fetch(s, a->anchor_score, j.anchor, bytes, err) : KVC_OK;
}
