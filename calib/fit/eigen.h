/* eigen.h - the dense linear algebra of the fits beside eigendecompositions: powers, inverses, products. All in
 * double, matrices [n][n] row-major, LAPACK and BLAS on one thread: the results do not depend on the number of
 * threads. */
#ifndef CALIB_FIT_EIGEN_H
#define CALIB_FIT_EIGEN_H
#include <stddef.h>
#include "kvc/kvc.h"

/* Before any other call, by fit_new(): LAPACK on one thread. Process-wide; callers are parallel over heads instead.
 */
void eigen_start(void);

/* out = sum_k values[k]^exponent u_k u_k', with the rows u_k of vectors; values > 0. work [n][n]. */
void eigen_power(size_t n, const double *values, const double *vectors, double exponent, double *out, double *work);

/* inverse = a^-1; *rcond: reciprocal of the condition number in the 1-norm, 0 for a singular matrix, which leaves
 * `inverse` without meaning. */
kvc_status eigen_inverse(size_t n, const double *a, double *inverse, double *rcond, kvc_error *err);

/* out [m][n] = a [m][k] b [k][n], or a b' with b [n][k]. */
void eigen_multiply(size_t m, size_t n, size_t k, const double *a, const double *b, double *out);
void eigen_multiply_transposed(size_t m, size_t n, size_t k, const double *a, const double *b, double *out);
#endif
