/* eigen.c - powers from eigenvalues, and LAPACK's dgetrf, dgecon and dgetri. O(n^3) each. */
#include "eigen.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void eigen_start(void)
{
    openblas_set_num_threads(1);
}

static kvc_status lapack_status(const char *name, lapack_int info, kvc_error *err)
{
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory in LAPACK's %s", name);
    if (info < 0) return kvc_fail(err, KVC_NONFINITE, "LAPACK's %s: argument %d is not finite", name, (int)-info);
    if (info > 0) return kvc_fail(err, KVC_NONFINITE, "LAPACK's %s does not converge (%d)", name, (int)info);
    return KVC_OK;
}

void eigen_power(size_t n, const double *values, const double *vectors, double exponent, double *out, double *work)
{
    for (size_t k = 0; k < n; k++) {
        double factor = pow(values[k], 0.5 * exponent);
        for (size_t i = 0; i < n; i++) work[k * n + i] = factor * vectors[k * n + i];
    }
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)n, (int)n, (int)n, 1.0, work, (int)n, work, (int)n, 0.0,
                out, (int)n);
}

static double norm_1(size_t n, const double *a)
{
    double norm = 0.0;
    for (size_t i = 0; i < n; i++) {
        double sum = 0.0; /* of a row: LAPACK reads it as a column */
        for (size_t j = 0; j < n; j++) sum += fabs(a[i * n + j]);
        norm = fmax(norm, sum);
    }
    return norm;
}

/* The transpose of the inverse is the inverse of the transpose: column-major calls spare the copies. */
kvc_status eigen_inverse(size_t n, const double *a, double *inverse, double *rcond, kvc_error *err)
{
    lapack_int order = (lapack_int)n, *pivots = malloc(n * sizeof *pivots);
    *rcond = 0.0;
    if (!pivots) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for an inverse");
    memcpy(inverse, a, n * n * sizeof *a);
    kvc_status status = KVC_OK;
    lapack_int info = LAPACKE_dgetrf(LAPACK_COL_MAJOR, order, order, inverse, order, pivots);
    if (info > 0) goto done; /* a pivot of zero */
    if ((status = lapack_status("dgetrf", info, err)) != KVC_OK) goto done;
    info = LAPACKE_dgecon(LAPACK_COL_MAJOR, '1', order, inverse, order, norm_1(n, a), rcond);
    if ((status = lapack_status("dgecon", info, err)) != KVC_OK || *rcond == 0.0) goto done;
    status = lapack_status("dgetri", LAPACKE_dgetri(LAPACK_COL_MAJOR, order, inverse, order, pivots), err);
done:
    free(pivots);
    return status;
}

void eigen_multiply(size_t m, size_t n, size_t k, const double *a, const double *b, double *out)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1.0, a, (int)k, b, (int)n, 0.0,
                out, (int)n);
}

void eigen_multiply_transposed(size_t m, size_t n, size_t k, const double *a, const double *b, double *out)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1.0, a, (int)k, b, (int)k, 0.0, out,
                (int)n);
}
