/* cpu_eigen.c - LAPACK's dsyevd behind a function whose result is fully determined.
 *
 * An eigenvector is known but for its sign, which LAPACK leaves open: the largest component is made positive. Equal
 * eigenvalues leave a rotation open as well; there the result is what this LAPACK makes of this matrix, the same at
 * every run. O(d^3) each, a thread per matrix. */
#include "cpu_internal.h"
#include "eigen_order.h"

#include <lapacke.h>
#include <string.h>

/* LAPACK's info. Column-major: the columns it returns are our rows. */
static lapack_int decompose(size_t d, const double *a, double *values, double *vectors)
{
    memcpy(vectors, a, d * d * sizeof *a);
    return LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', (lapack_int)d, vectors, (lapack_int)d, values);
}

kvc_status cpu_eigen(backend *b, uint32_t n, size_t d, const double *a, double *values, double *vectors,
                     kvc_error *err)
{
    lapack_int info = 0;
    uint32_t failed = n;
    (void)b;
#pragma omp parallel for schedule(dynamic)
    for (uint32_t i = 0; i < n; i++) {
        lapack_int own = decompose(d, a + i * d * d, values + i * d, vectors + i * d * d);
        if (own == 0) eigen_order(d, values + i * d, vectors + i * d * d);
#pragma omp critical(cpu_eigen_error)
        if (own != 0 && i < failed) {
            failed = i;
            info = own;
        }
    }
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory in LAPACK's dsyevd");
    if (info < 0)
        return kvc_fail(err, KVC_NONFINITE, "LAPACK's dsyevd: argument %d of matrix %u is not finite", (int)-info,
                        failed);
    if (info > 0)
        return kvc_fail(err, KVC_NONFINITE, "LAPACK's dsyevd does not converge on matrix %u (%d)", failed, (int)info);
    return KVC_OK;
}
