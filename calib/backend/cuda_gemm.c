/* cuda_gemm.c - products by cuBLAS, which counts columns first: of row-major y = x w' it computes y' = w x'.
 *
 * Exact: fp32 multiplications and sums, no TF32. Fast: weights are bfloat16 (of a bfloat16 checkpoint that loses
 * nothing) and x is rounded to it, once for all products that follow one another with the same x; products by tensor
 * cores, sums in fp32. One stream, one fixed workspace, no atomics: the same bits each time. */
#include "cuda_internal.h"

#include <assert.h>

static int64_t leading(size_t n)
{
    return n ? (int64_t)n : 1;
}

static kvc_status multiply(cuda_state *s, size_t m, size_t n, size_t k, const void *x, const void *w,
                           cudaDataType type, float beta, float *y, kvc_error *err)
{
    const float one = 1;
    KVC_TRY_CUBLAS(s, s->blas.gemm(s->handle, CUBLAS_OP_T, CUBLAS_OP_N, (int64_t)n, (int64_t)m, (int64_t)k, &one, w,
                                   type, leading(k), x, type, leading(k), &beta, y, CUDA_R_32F, leading(n),
                                   CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    return KVC_OK;
}

/* x as bfloat16 in the scratch; `before` and n_before: what lies there from the last product. */
static kvc_status round_input(cuda_state *s, const float *before, size_t n_before, size_t n, const float *x,
                              void **half, kvc_error *err)
{
    const cuda_part part = {half, n * sizeof(uint16_t)};
    KVC_TRY(cuda_scratch(s, &part, 1, err));
    if (before != x || n_before != n) KVC_TRY_CUDA(op_to_bf16(n, x, *half, s->compute));
    s->rounded = x;
    s->n_rounded = n;
    return KVC_OK;
}

kvc_status cuda_gemm(backend *b, size_t m, size_t n, size_t k, const float *x, const void *w, const float *bias,
                     int accumulate, float *y, kvc_error *err)
{
    cuda_state *s = b->state;
    const float *before = s->rounded;
    float beta = bias || accumulate ? 1.0f : 0.0f;
    void *half;
    if (m == 0 || n == 0) return KVC_OK;
    KVC_TRY(CUDA_BEGIN(b, err, x, w, bias, y));
    if (bias) KVC_TRY_CUDA(op_add_bias(m, n, bias, accumulate, y, s->compute));
    if (!s->fast) return multiply(s, m, n, k, x, w, CUDA_R_32F, beta, y, err);
    KVC_TRY(round_input(s, before, s->n_rounded, m * k, x, &half, err));
    return multiply(s, m, n, k, half, w, CUDA_R_16BF, beta, y, err);
}

/* Column-major, w is [n_heads d][rows]: a head's rows times their own transpose. */
kvc_status cuda_output_metric(backend *b, size_t rows, size_t n_heads, size_t head_dim, const void *w, float *metric,
                              kvc_error *err)
{
    cuda_state *s = b->state;
    const float one = 1, zero = 0, *floats = w;
    size_t width = n_heads * head_dim, d = head_dim;
    float *products, *widened;
    const cuda_part parts[] = {{&products, width * d * sizeof(float)},
                               {&widened, s->fast ? rows * width * sizeof(float) : 0}};
    KVC_TRY(CUDA_BEGIN(b, err, w));
    KVC_TRY(cuda_scratch(s, parts, 2, err));
    if (s->fast) {
        KVC_TRY_CUDA(op_from_bf16(rows * width, w, widened, s->compute));
        floats = widened;
    }
    KVC_TRY_CUBLAS(s, s->blas.float_products(s->handle, CUBLAS_OP_N, CUBLAS_OP_T, (int64_t)d, (int64_t)d,
                                             (int64_t)rows, &one, floats, (int64_t)width, (long long)d, floats,
                                             (int64_t)width, (long long)d, &zero, products, (int64_t)d,
                                             (long long)(d * d), (int64_t)n_heads));
    return cuda_fetch(s, metric, products, width * d * sizeof *metric, err);
}

kvc_status cuda_multiply(cuda_state *s, const cuda_product *p, kvc_error *err)
{
    const float one = 1, zero = 0;
    if (p->batch == 0 || p->m == 0 || p->n == 0) return KVC_OK;
    if (p->k == 0) {
        assert(p->ldc == p->n && (p->batch == 1 || p->stride_c == p->m * p->n));
        KVC_TRY_CUDA(cudaMemsetAsync(p->c, 0, p->batch * p->m * p->n * sizeof *p->c, s->compute));
        return KVC_OK;
    }
    KVC_TRY_CUBLAS(s,
                   s->blas.float_products(s->handle, p->turn_b ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_OP_N,
                                          (int64_t)p->n, (int64_t)p->m, (int64_t)p->k, &one, p->b, (int64_t)p->ldb,
                                          (long long)p->stride_b, p->a, (int64_t)p->lda, (long long)p->stride_a,
                                          &zero, p->c, (int64_t)p->ldc, (long long)p->stride_c, (int64_t)p->batch));
    return KVC_OK;
}
