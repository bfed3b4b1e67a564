/* rot: orthogonal, and every channel of a block carries the same share of what the eigenvectors are of. */
#include "check_main.h"
#include "eigen.h"
#include "fit_rig.h"

/* R [input][latent] of one head in double. */
static double *rotation_of(const kvc_coder *coder, uint32_t head)
{
    size_t n = (size_t)coder->head_dim * coder->head_dim;
    const uint16_t *stored = (const uint16_t *)coder->part[0] + head * n;
    double *r = malloc(n * sizeof *r);
    for (size_t i = 0; i < n; i++) r[i] = kvc_fp16_to_float(stored[i]);
    return r;
}

/* Largest entry of R R' - I. */
static double defect(size_t d, const double *r)
{
    double *product = malloc(d * d * sizeof *product), largest = 0.0;
    eigen_multiply_transposed(d, d, d, r, r, product);
    for (size_t i = 0; i < d * d; i++) largest = fmax(largest, fabs(product[i] - (i % (d + 1) == 0)));
    free(product);
    return largest;
}

START_TEST(rot__is_orthogonal_whatever_the_data)
{
    static const size_t rows[] = {0, 1, 200};
    for (uint32_t d = 8; d <= 256; d += d < 32 ? 8 : d)
        for (int c = 0; c < 6; c++) {
            fit_rig rig = rig_new(2, d, rows[c / 2], c % 2);
            kvc_coder coder;
            void *params = rig_fit(&rig, "fp16+rot", &coder);
            for (uint32_t head = 0; head < 2; head++) {
                double *r = rotation_of(&coder, head);
                ck_assert_double_lt(defect(d, r), 0x1p-10);
                free(r);
            }
            free(params);
            rig_free(&rig);
        }
}
END_TEST

/* diag(R' M R) in block b is the mean of the eigenvalues b, b + blocks, b + 2 blocks, ... of M. */
static void check_shares(size_t d, const double *r, const double *moment)
{
    size_t n = d & -d, blocks = d / n;
    double *values = malloc(d * sizeof *values), *vectors = malloc(d * d * sizeof *vectors);
    ck_assert_int_eq(rig_eigen(d, moment, values, vectors, NULL), KVC_OK);
    for (size_t i = 0; i < d; i++) {
        double share = 0.0, got = 0.0;
        for (size_t k = i / n; k < d; k += blocks) share += values[k] / (double)n;
        for (size_t a = 0; a < d; a++)
            for (size_t b = 0; b < d; b++) got += r[a * d + i] * moment[a * d + b] * r[b * d + i];
        ck_assert_double_eq_tol(got, share, 2e-3 * share);
    }
    free(values);
    free(vectors);
}

START_TEST(rot__spreads_the_metric_of_keys_evenly)
{
    static const uint32_t dims[] = {16, 24, 64, 80};
    for (size_t c = 0; c < sizeof dims / sizeof *dims; c++) {
        uint32_t d = dims[c];
        fit_rig rig = rig_new(2, d, 200, false);
        kvc_coder coder;
        void *params = rig_fit(&rig, "fp16+rot", &coder);
        for (uint32_t head = 0; head < 2; head++) {
            double *r = rotation_of(&coder, head);
            check_shares(d, r, rig.metric + head * d * d);
            free(r);
        }
        free(params);
        rig_free(&rig);
    }
}
END_TEST

START_TEST(rot__spreads_the_moment_of_values_evenly)
{
    enum { D = 48 };
    fit_rig rig = rig_new(1, D, 200, true);
    kvc_coder coder;
    void *params = rig_fit(&rig, "fp16+rot", &coder);
    double moment[D * D], *r = rotation_of(&coder, 0);
    for (size_t i = 0; i < D * D; i++) moment[i] = rig.cov[i] + rig.mean[i / D] * rig.mean[i % D];
    check_shares(D, r, moment);
    free(r);
    free(params);
    rig_free(&rig);
}
END_TEST

CHECK_MAIN("fit rot", rot__is_orthogonal_whatever_the_data, rot__spreads_the_metric_of_keys_evenly,
           rot__spreads_the_moment_of_values_evenly)
