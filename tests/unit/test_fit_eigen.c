/* Eigendecompositions, powers and inverses against their definitions. */
#include "check_main.h"
#include "eigen.h"
#include "fit_rig.h"

/* A symmetric semidefinite matrix of the given rank. */
static void semidefinite(size_t n, size_t rank, uint64_t seed, double *a)
{
    double *b = calloc(n * n, sizeof *b);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < rank; k++) b[i * n + k] = rig_random(&seed);
    eigen_multiply_transposed(n, n, n, b, b, a);
    free(b);
}

static double distance_to_identity(size_t n, const double *a)
{
    double largest = 0.0;
    for (size_t i = 0; i < n * n; i++) largest = fmax(largest, fabs(a[i] - (i % (n + 1) == 0)));
    return largest;
}

START_TEST(symmetric__gives_sorted_orthonormal_eigenvectors)
{
    enum { N = 40 };
    double a[N * N], values[N], vectors[N * N], back[N * N], scaled[N * N];
    for (size_t rank = 0; rank <= N; rank += 10) {
        semidefinite(N, rank, rank + 1, a);
        ck_assert_int_eq(rig_eigen(N, a, values, vectors, NULL), KVC_OK);
        eigen_multiply_transposed(N, N, N, vectors, vectors, back);
        ck_assert_double_lt(distance_to_identity(N, back), 1e-12);
        for (size_t k = 1; k < N; k++) ck_assert_double_ge(values[k - 1], values[k]);
        if (rank < N) ck_assert_double_lt(fabs(values[rank]), 1e-10);
        /* V' diag V = a, from the rows of V. */
        for (size_t i = 0; i < N; i++)
            for (size_t k = 0; k < N; k++) scaled[i * N + k] = vectors[k * N + i] * values[k];
        eigen_multiply(N, N, N, scaled, vectors, back);
        for (size_t i = 0; i < N * N; i++) ck_assert_double_eq_tol(back[i], a[i], 1e-10);
    }
}
END_TEST

START_TEST(symmetric__makes_the_largest_component_positive)
{
    enum { N = 24 };
    double a[N * N], values[N], vectors[N * N];
    semidefinite(N, N, 5, a);
    ck_assert_int_eq(rig_eigen(N, a, values, vectors, NULL), KVC_OK);
    for (size_t k = 0; k < N; k++) {
        double largest = 0.0;
        for (size_t i = 0; i < N; i++)
            if (fabs(vectors[k * N + i]) > fabs(largest)) largest = vectors[k * N + i];
        ck_assert_double_gt(largest, 0.0);
    }
}
END_TEST

START_TEST(symmetric__refuses_what_is_not_finite)
{
    double a[4] = {1.0, NAN, NAN, 1.0}, values[2], vectors[4];
    kvc_error err;
    ck_assert_int_eq(rig_eigen(2, a, values, vectors, &err), KVC_NONFINITE);
    ck_assert_ptr_nonnull(strstr(err.message, "dsyevd"));
}
END_TEST

START_TEST(power__half_and_minus_half_are_inverse)
{
    enum { N = 32 };
    double a[N * N], values[N], vectors[N * N], root[N * N], inverse[N * N], work[N * N], product[N * N];
    semidefinite(N, N, 3, a);
    ck_assert_int_eq(rig_eigen(N, a, values, vectors, NULL), KVC_OK);
    for (size_t i = 0; i < N; i++) values[i] += 1e-2;
    eigen_power(N, values, vectors, 0.5, root, work);
    eigen_power(N, values, vectors, -0.5, inverse, work);
    eigen_multiply(N, N, N, root, inverse, product);
    ck_assert_double_lt(distance_to_identity(N, product), 1e-9);
    eigen_multiply(N, N, N, root, root, product);
    for (size_t i = 0; i < N * N; i++)
        ck_assert_double_eq_tol(product[i], a[i] + (i % (N + 1) == 0 ? 1e-2 : 0.0), 1e-9);
}
END_TEST

START_TEST(inverse__inverts_and_tells_singular_matrices)
{
    enum { N = 30 };
    double a[N * N], inverse[N * N], product[N * N], rcond;
    uint64_t state = 9;
    for (size_t i = 0; i < N * N; i++) a[i] = rig_random(&state);
    ck_assert_int_eq(eigen_inverse(N, a, inverse, &rcond, NULL), KVC_OK);
    ck_assert_double_gt(rcond, 1e-6);
    eigen_multiply(N, N, N, a, inverse, product);
    ck_assert_double_lt(distance_to_identity(N, product), 1e-9);
    memset(a + 4 * N, 0, N * sizeof *a);
    ck_assert_int_eq(eigen_inverse(N, a, inverse, &rcond, NULL), KVC_OK);
    ck_assert_double_eq(rcond, 0.0);
    for (size_t i = 0; i < N; i++) a[4 * N + i] = a[5 * N + i] * (1.0 + 1e-13 * (double)(i % 3));
    ck_assert_int_eq(eigen_inverse(N, a, inverse, &rcond, NULL), KVC_OK);
    ck_assert_double_lt(rcond, 1e-12);
}
END_TEST

CHECK_MAIN("fit eigen", symmetric__gives_sorted_orthonormal_eigenvectors,
           symmetric__makes_the_largest_component_positive, symmetric__refuses_what_is_not_finite,
           power__half_and_minus_half_are_inverse, inverse__inverts_and_tells_singular_matrices)
