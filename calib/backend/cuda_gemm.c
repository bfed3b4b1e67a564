/* cuda_gemm.c - products by cuBLAS, which counts columns first: of row-major y = x w' it computes y' = w x'.
 *
 * Exact: fp32 multiplications and sums, no TF32. Fast: x and w rounded to bfloat16 (of a bfloat16 checkpoint w loses
 * nothing), products by tensor cores, sums in fp32. One stream, one fixed workspace, no atomics: the same bits each
 * time. */
#include "cuda_internal.h"

#include <assert.h>

static int64_t leading(size_t n)
{
    return n ? (int64_t)n : 1;
}

static kvc_status multiply_floats(cuda_state *s, size_t m, size_t n, size_t k, const float *x, const float *w,
                                  float beta, float *y, kvc_error *err)
{
    const float one = 1;
    KVC_TRY_CUBLAS(s, s->blas.gemm(s->handle, CUBLAS_OP_T, CUBLAS_OP_N, (int64_t)n, (int64_t)m, (int64_t)k, &one, w,
                                   CUDA_R_32F, leading(k), x, CUDA_R_32F, leading(k), &beta, y, CUDA_R_32F,
                                   leading(n), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    return KVC_OK;
}

static kvc_status multiply_halves(cuda_state *s, size_t m, size_t n, size_t k, const float *x, const float *w,
                                  float beta, float *y, kvc_error *err)
{
    const float one = 1;
    void *x_half, *w_half;
    const cuda_part parts[] = {{&x_half, m * k * 2}, {&w_half, n * k * 2}};
    KVC_TRY(cuda_scratch(s, parts, 2, err));
    KVC_TRY_CUDA(op_to_bf16(m * k, x, x_half, s->compute));
    KVC_TRY_CUDA(op_to_bf16(n * k, w, w_half, s->compute));
    KVC_TRY_CUBLAS(s, s->blas.gemm(s->handle, CUBLAS_OP_T, CUBLAS_OP_N, (int64_t)n, (int64_t)m, (int64_t)k, &one,
                                   w_half, CUDA_R_16BF, leading(k), x_half, CUDA_R_16BF, leading(k), &beta, y,
                                   CUDA_R_32F, leading(n), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    return KVC_OK;
}

kvc_status cuda_gemm(backend *b, size_t m, size_t n, size_t k, const float *x, const float *w, const float *bias,
                     int accumulate, float *y, kvc_error *err)
{
    cuda_state *s = b->state;
    float beta = bias || accumulate ? 1.0f : 0.0f;
    if (m == 0 || n == 0) return KVC_OK;
    KVC_TRY(CUDA_BEGIN(b, err, x, w, bias, y));
    if (bias) KVC_TRY_CUDA(op_add_bias(m, n, bias, accumulate, y, s->compute));
    return (s->fast ? multiply_halves : multiply_floats)(s, m, n, k, x, w, beta, y, err);
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
