/* cuda_probe.c - what every candidate codec does to sampled query rows (backend.h, probe), by batched products.
 *
 * The sampled rows go in strips of n <= STRIP; row r of query head h is row h n + r, so that the G heads of a group
 * are the M = G n rows of one product per KV head. Letters as in cpu_probe.c: S exact scores, A = softmax(S), O = A
 * V; P the probabilities with candidate keys, A', P' the part inside each row's compressed range, dV = V^ - V, all
 * values' side by side:
 *     delta_value = A' dV      delta_key = (P - A) V      pair: (P - A) V + P' dV
 * Errors are summed per row, the rows in a fixed order. Cost: (n_keys + 1) products M x T x d, as many M x C x
 * (n_values d), fp32. Memory: three strips [n_heads][n][T] floats, one [n_heads][n][C], one [n_heads][n][n_values d],
 * and as much for dV as the value candidates take. */
#include "cuda_internal.h"

#include <stdlib.h>
#include <string.h>

#define STRIP 32

typedef struct probe_job {
    const probe_args *a;
    size_t H, kv, d, wide, G; /* query and KV heads, head dimension, n_values d, H / kv */
    size_t ld, compressed;    /* row stride of strips; compressed tokens of the last row of all */
    uint32_t *rows;           /* [n_rows] */
    float *q, *scores, *exact, *other, *inside, *pair, *out, *delta;
    float *dv;             /* [n_kv_heads][compressed][n_values][d] */
    double *errors, *sums; /* [max(1, n_values)][n_heads n] of rows; [n_keys] scores, [n_keys][n_values] outputs */
} probe_job;

/* Sampled rows [first, first + n). */
typedef struct strip {
    uint32_t first, n;
    size_t visible, compressed; /* of its last row */
} strip;

static size_t most_rows(const probe_args *a)
{
    return a->n_rows < STRIP ? a->n_rows : STRIP;
}

static size_t sums_bytes(const probe_args *a)
{
    return (size_t)a->n_keys * (1 + a->n_values) * sizeof(double);
}

#define N_PARTS 12

static void list_parts(probe_job *j, cuda_part out[N_PARTS])
{
    const probe_args *a = j->a;
    size_t rows = j->H * most_rows(a), f = sizeof(float);
    const cuda_part parts[N_PARTS] = {{&j->rows, a->n_rows * sizeof *a->rows},
                                      {&j->q, rows * j->d * f},
                                      {&j->scores, rows * j->ld * f},
                                      {&j->exact, rows * j->ld * f},
                                      {&j->other, rows * j->ld * f},
                                      {&j->inside, rows * j->compressed * f},
                                      {&j->pair, rows * j->wide * f},
                                      {&j->out, rows * j->d * f},
                                      {&j->delta, rows * j->d * f},
                                      {&j->dv, j->kv * j->compressed * j->wide * f},
                                      {&j->errors, (a->n_values ? a->n_values : 1) * rows * sizeof(double)},
                                      {&j->sums, sums_bytes(a)}};
    memcpy(out, parts, sizeof parts);
}

static kvc_status job_scratch(cuda_state *s, probe_job *j, kvc_error *err)
{
    cuda_part parts[N_PARTS];
    list_parts(j, parts);
    return cuda_scratch(s, parts, N_PARTS, err);
}

static kvc_status value_errors(cuda_state *s, const probe_job *j, kvc_error *err)
{
    const probe_args *a = j->a;
    size_t at = a->policy.sinks * j->kv * j->d;
    if (j->compressed == 0) return KVC_OK;
    for (uint32_t v = 0; v < a->n_values; v++)
        KVC_TRY_CUDA(op_value_errors(j->compressed, a->n_kv_heads, a->head_dim, a->v_page[v] + at, a->v + at, v,
                                     a->n_values, j->dv, s->compute));
    return KVC_OK;
}

/* scores [h][n][ld] = q k' for keys [0, n_keys) from k */
static kvc_status score_keys(cuda_state *s, const probe_job *j, const strip *t, const float *k, size_t n_keys,
                             float *scores, kvc_error *err)
{
    size_t M = j->G * t->n;
    if (n_keys == 0) return KVC_OK;
    const cuda_product p = {.batch = j->kv,
                            .m = M,
                            .n = n_keys,
                            .k = j->d,
                            .a = j->q,
                            .lda = j->d,
                            .stride_a = M * j->d,
                            .b = k,
                            .ldb = j->kv * j->d,
                            .stride_b = j->d,
                            .turn_b = true,
                            .c = scores,
                            .ldc = j->ld,
                            .stride_c = M * j->ld};
    return cuda_multiply(s, &p, err);
}

/* out [h][n][d] = p v, p [h][n][ld] */
static kvc_status weigh_values(cuda_state *s, const probe_job *j, const strip *t, const float *p, float *out,
                               kvc_error *err)
{
    size_t M = j->G * t->n;
    const cuda_product product = {.batch = j->kv,
                                  .m = M,
                                  .n = j->d,
                                  .k = t->visible,
                                  .a = p,
                                  .lda = j->ld,
                                  .stride_a = M * j->ld,
                                  .b = j->a->v,
                                  .ldb = j->kv * j->d,
                                  .stride_b = j->d,
                                  .c = out,
                                  .ldc = j->d,
                                  .stride_c = M * j->d};
    return cuda_multiply(s, &product, err);
}

/* pair [h][n][n_values d] = inside dV */
static kvc_status weigh_errors(cuda_state *s, const probe_job *j, const strip *t, kvc_error *err)
{
    size_t M = j->G * t->n;
    const cuda_product p = {.batch = j->kv,
                            .m = M,
                            .n = j->wide,
                            .k = t->compressed,
                            .a = j->inside,
                            .lda = t->compressed,
                            .stride_a = M * t->compressed,
                            .b = j->dv,
                            .ldb = j->wide,
                            .stride_b = j->compressed * j->wide,
                            .c = j->pair,
                            .ldc = j->wide,
                            .stride_c = M * j->wide};
    return cuda_multiply(s, &p, err);
}

static kvc_status store_rows(cuda_state *s, const probe_job *j, const strip *t, const float *from, size_t ld,
                             float *to, kvc_error *err)
{
    KVC_TRY_CUDA(
        op_scatter_rows(t->n, j->a->n_heads, j->a->head_dim, from, ld, to + t->first * j->H * j->d, s->compute));
    return KVC_OK;
}

static op_strip softmax_of(const probe_job *j, const strip *t, bool inside)
{
    return (op_strip){.rows = {.positions = j->rows + t->first, .n = t->n},
                      .n_heads = j->a->n_heads,
                      .policy = j->a->policy,
                      .visible = t->visible,
                      .ld = j->ld,
                      .scores = j->scores,
                      .compressed = t->compressed,
                      .inside = inside ? j->inside : NULL};
}

static kvc_status exact_rows(cuda_state *s, const probe_job *j, const strip *t, kvc_error *err)
{
    const probe_args *a = j->a;
    op_strip softmax = softmax_of(j, t, true);
    softmax.out = j->exact;
    KVC_TRY_CUDA(op_gather_queries(softmax.rows, a->n_heads, a->head_dim, a->q, a->scale, j->q, s->compute));
    KVC_TRY(score_keys(s, j, t, a->k, t->visible, j->scores, err));
    KVC_TRY_CUDA(op_softmax(&softmax, s->compute));
    KVC_TRY(weigh_values(s, j, t, j->exact, j->out, err));
    KVC_TRY(store_rows(s, j, t, j->out, j->d, a->out, err));
    KVC_TRY(weigh_errors(s, j, t, err));
    for (uint32_t v = 0; v < a->n_values; v++)
        KVC_TRY(store_rows(s, j, t, j->pair + v * j->d, j->wide, a->delta_value[v], err));
    return KVC_OK;
}

static kvc_status pair_rows(cuda_state *s, const probe_job *j, const strip *t, uint32_t key, kvc_error *err)
{
    const probe_args *a = j->a;
    KVC_TRY(weigh_errors(s, j, t, err));
    KVC_TRY_CUDA(
        op_pair_errors(j->H * t->n, a->n_values, a->head_dim, j->out, j->delta, j->pair, j->errors, s->compute));
    KVC_TRY_CUDA(op_add_sums(a->n_values, j->H * t->n, j->errors, j->sums + a->n_keys + (size_t)key * a->n_values,
                             s->compute));
    return KVC_OK;
}

static kvc_status key_rows(cuda_state *s, const probe_job *j, const strip *t, uint32_t key, kvc_error *err)
{
    const probe_args *a = j->a;
    bool paired = !a->paired || a->paired[key];
    size_t sinks = a->policy.sinks;
    op_strip softmax = softmax_of(j, t, paired);
    softmax.exact = j->exact;
    softmax.out = j->other;
    softmax.change = j->errors;
    KVC_TRY(score_keys(s, j, t, a->k_page[key] + sinks * j->kv * j->d, t->compressed, j->other + sinks, err));
    KVC_TRY_CUDA(op_softmax(&softmax, s->compute));
    KVC_TRY_CUDA(op_add_sums(1, j->H * t->n, j->errors, j->sums + key, s->compute));
    KVC_TRY(weigh_values(s, j, t, j->other, j->delta, err));
    KVC_TRY(store_rows(s, j, t, j->delta, j->d, a->delta_key[key], err));
    return paired ? pair_rows(s, j, t, key, err) : KVC_OK;
}

static kvc_status run_strips(cuda_state *s, const probe_job *j, kvc_error *err)
{
    const probe_args *a = j->a;
    for (uint32_t first = 0; first < a->n_rows; first += STRIP) {
        strip t = {.first = first, .n = a->n_rows - first < STRIP ? a->n_rows - first : STRIP};
        t.visible = (size_t)a->rows[first + t.n - 1] + 1;
        t.compressed = kvc_tokens_compressed(&a->policy, t.visible);
        KVC_TRY(exact_rows(s, j, &t, err));
        for (uint32_t key = 0; key < a->n_keys; key++) KVC_TRY(key_rows(s, j, &t, key, err));
    }
    return KVC_OK;
}

static kvc_status fetch_sums(cuda_state *s, const probe_job *j, kvc_error *err)
{
    const probe_args *a = j->a;
    double *sums = malloc(sums_bytes(a) + 1);
    if (!sums)
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the losses of %u x %u candidates", a->n_keys,
                        a->n_values);
    kvc_status status = cuda_fetch(s, sums, j->sums, sums_bytes(a), err);
    if (status == KVC_OK) {
        for (size_t c = 0; c < a->n_keys; c++) a->score_error[c] += sums[c];
        for (size_t i = 0; i < (size_t)a->n_keys * a->n_values; i++) a->output_error[i] += sums[a->n_keys + i];
        for (size_t r = 0; r < a->n_rows; r++) *a->n_scores += (double)a->n_heads * (a->rows[r] + 1.0);
    }
    free(sums);
    return status;
}

static kvc_status begin(backend *b, const probe_args *a, kvc_error *err)
{
    cuda_state *s = b->state;
    KVC_TRY(CUDA_BEGIN(b, err, a->q, a->k, a->v, a->out));
    for (uint32_t i = 0; i < a->n_keys; i++) {
        KVC_TRY(cuda_use(s, a->k_page[i], err));
        KVC_TRY(cuda_use(s, a->delta_key[i], err));
    }
    for (uint32_t i = 0; i < a->n_values; i++) {
        KVC_TRY(cuda_use(s, a->v_page[i], err));
        KVC_TRY(cuda_use(s, a->delta_value[i], err));
    }
    return KVC_OK;
}

/* visible: tokens that the last row sees; compressed: of them. */
static probe_job plan_job(const probe_args *a, size_t visible, size_t compressed)
{
    return (probe_job){.a = a,
                       .H = a->n_heads,
                       .kv = a->n_kv_heads,
                       .d = a->head_dim,
                       .wide = (size_t)a->n_values * a->head_dim,
                       .G = a->n_heads / a->n_kv_heads,
                       .ld = (visible + 3) & ~(size_t)3,
                       .compressed = compressed};
}

size_t cuda_probe_bytes(const scratch_shape *s)
{
    const probe_args a = {.n_tokens = (uint32_t)s->n_tokens,
                          .n_heads = (uint32_t)s->n_heads,
                          .n_kv_heads = (uint32_t)s->n_kv_heads,
                          .head_dim = (uint32_t)s->head_dim,
                          .n_rows = (uint32_t)s->n_rows,
                          .n_keys = (uint32_t)s->n_keys,
                          .n_values = (uint32_t)s->n_values};
    probe_job j = plan_job(&a, s->n_tokens, s->n_tokens);
    cuda_part parts[N_PARTS];
    list_parts(&j, parts);
    return cuda_parts_bytes(parts, N_PARTS);
}

kvc_status cuda_probe(backend *b, const probe_args *a, kvc_error *err)
{
    cuda_state *s = b->state;
    if (a->n_rows == 0) return KVC_OK;
    size_t visible = (size_t)a->rows[a->n_rows - 1] + 1;
    probe_job j = plan_job(a, visible, kvc_tokens_compressed(&a->policy, visible));
    KVC_TRY(begin(b, a, err));
    KVC_TRY(job_scratch(s, &j, err));
    KVC_TRY(cuda_put(s, j.rows, a->rows, a->n_rows * sizeof *a->rows, err));
    KVC_TRY_CUDA(cudaMemsetAsync(j.sums, 0, sums_bytes(a), s->compute));
    KVC_TRY(value_errors(s, &j, err));
    KVC_TRY(run_strips(s, &j, err));
    return fetch_sums(s, &j, err);
}
