/* klt: uncorrelated latents, an exact inverse, the best truncation in the metric, and data that hardly is any. */
#include "check_main.h"
#include "eigen.h"
#include "fit_rig.h"

/* The constants of one head in double: T [latent][input], S [input][latent]. */
typedef struct basis {
    double *forward, *backward;
} basis;

/* FORMAT.md, "klt": mean, T transposed, S. */
static basis basis_of(const kvc_coder *coder, uint32_t head)
{
    size_t d = coder->head_dim, n = d * d;
    const float *mean = (const float *)((const char *)coder->part[0] + head * (4 * d + 6 * n)), *t = mean + d;
    const uint16_t *s = (const uint16_t *)(t + n);
    basis b = {malloc(n * sizeof(double)), malloc(n * sizeof(double))};
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) {
            b.forward[i * d + j] = t[j * d + i];
            b.backward[j * d + i] = kvc_fp16_to_float(s[j * d + i]);
        }
    return b;
}

static void basis_free(basis b)
{
    free(b.forward);
    free(b.backward);
}

/* out = T a T'. */
static void transform_moment(size_t d, const double *t, const double *a, double *out)
{
    double *product = malloc(d * d * sizeof *product);
    eigen_multiply(d, d, d, t, a, product);
    eigen_multiply_transposed(d, d, d, product, t, out);
    free(product);
}

START_TEST(klt__decorrelates_and_sorts)
{
    for (uint32_t d = 16; d <= 128; d *= 2) {
        fit_rig rig = rig_new(2, d, 4 * d, d == 32);
        kvc_coder coder;
        void *params = rig_fit(&rig, "fp16+klt", &coder);
        double *latent = malloc(d * d * sizeof *latent);
        for (uint32_t head = 0; head < 2; head++) {
            basis b = basis_of(&coder, head);
            transform_moment(d, b.forward, rig.cov + head * d * d, latent);
            for (uint32_t i = 0; i < d; i++) {
                if (i) ck_assert_double_lt(latent[i * d + i], latent[(i - 1) * (d + 1)] * 1.02);
                for (uint32_t j = 0; j < i; j++) /* what rounding S to fp16 leaks from the larger into the smaller */
                    ck_assert_double_lt(fabs(latent[i * d + j]), 2e-3 * latent[j * (d + 1)]);
            }
            ck_assert_double_gt(latent[0], 100.0 * latent[d * d - 1]);
            basis_free(b);
        }
        free(latent);
        free(params);
        rig_free(&rig);
    }
}
END_TEST

START_TEST(klt__has_an_exact_inverse)
{
    for (uint32_t d = 8; d <= 256; d *= 2) {
        fit_rig rig = rig_new(1, d, 2 * d, false);
        kvc_coder coder;
        void *params = rig_fit(&rig, "fp16+klt", &coder);
        basis b = basis_of(&coder, 0);
        double *product = malloc(d * d * sizeof *product), largest = 0.0;
        eigen_multiply(d, d, d, b.backward, b.forward, product);
        for (uint32_t i = 0; i < d * d; i++) {
            ck_assert_double_eq_tol(product[i], i % (d + 1) == 0, 1e-6);
            largest = fmax(largest, fabs(b.backward[i]));
        }
        ck_assert(largest >= 4.0 && largest <= 8.0); /* far from both ends of fp16 */
        free(product);
        basis_free(b);
        free(params);
        rig_free(&rig);
    }
}
END_TEST

/* |T e|^2 is e' C e for the ridged metric, up to one factor for all e. */
START_TEST(klt__makes_the_metric_a_plain_sum)
{
    enum { D = 64 };
    fit_rig rig = rig_new(1, D, 200, false);
    kvc_coder coder;
    void *params = rig_fit(&rig, "fp16+klt", &coder);
    basis b = basis_of(&coder, 0);
    double gram[D * D], trace = 0.0, factor = 0.0, transposed[D * D];
    for (size_t i = 0; i < D; i++) trace += rig.metric[i * (D + 1)];
    for (size_t i = 0; i < D * D; i++) transposed[i] = b.forward[i % D * D + i / D];
    eigen_multiply_transposed(D, D, D, transposed, transposed, gram); /* T' T */
    for (size_t i = 0; i < D; i++) factor += gram[i * (D + 1)] / (trace * (1.0 + fit_defaults.ridge));
    for (size_t i = 0; i < D * D; i++) {
        double ridged = rig.metric[i] + (i % (D + 1) == 0 ? fit_defaults.ridge * trace / D : 0.0);
        ck_assert_double_eq_tol(gram[i] / factor, ridged, 2e-3 * trace / D);
    }
    basis_free(b);
    free(params);
    rig_free(&rig);
}
END_TEST

/* What is lost in the metric when only the first `kept` latents stay. */
static double truncation(const fit_rig *rig, const double *t, const double *s, size_t kept)
{
    size_t d = rig->data.head_dim;
    double *error = calloc(d * d, sizeof *error), *lost = calloc(d * d, sizeof *lost), loss = 0.0;
    for (size_t i = 0; i < d; i++) /* E = I - S_kept T_kept */
        for (size_t j = 0; j < d; j++) {
            error[i * d + j] = i == j;
            for (size_t k = 0; k < kept; k++) error[i * d + j] -= s[i * d + k] * t[k * d + j];
        }
    transform_moment(d, error, rig->cov, lost);
    for (size_t i = 0; i < d * d; i++) loss += lost[i] * rig->metric[i];
    free(error);
    free(lost);
    return loss;
}

START_TEST(klt__truncates_better_than_any_other_basis)
{
    enum { D = 32, N = D * D };
    fit_rig rig = rig_new(1, D, 300, false);
    kvc_coder coder;
    void *params = rig_fit(&rig, "fp16+klt", &coder);
    basis b = basis_of(&coder, 0);
    double moment[N], values[D], t[N], s[N];
    uint64_t state = 5;
    for (int trial = 0; trial < 20; trial++) {
        /* Orthogonal bases: random ones, and in the first trial that of the plain covariance. */
        for (size_t i = 0; i < D; i++)
            for (size_t j = 0; j <= i; j++)
                moment[i * D + j] = moment[j * D + i] = trial ? rig_random(&state) : rig.cov[i * D + j];
        ck_assert_int_eq(rig_eigen(D, moment, values, t, NULL), KVC_OK);
        for (size_t i = 0; i < N; i++) s[i] = t[i % D * D + i / D];
        for (size_t kept = 4; kept < D; kept += 4)
            ck_assert_double_lt(truncation(&rig, b.forward, b.backward, kept), truncation(&rig, t, s, kept));
    }
    basis_free(b);
    free(params);
    rig_free(&rig);
}
END_TEST

START_TEST(klt__keeps_rows_products_and_outputs)
{
    enum { D = 64 };
    fit_rig rig = rig_new(2, D, 300, false);
    kvc_coder coder;
    void *params = rig_fit(&rig, "fp16+klt", &coder);
    float y[D], q[D], folded[D], out[D], *work = malloc(kvc_coder_work(&coder) * sizeof *work);
    uint64_t state = 3;
    for (uint32_t row = 0; row < 50; row++) {
        const float *x = rig.rows + (300 * (row % 2) + row) * D;
        double want = 0.0, got = 0.0, scale = 0.0;
        for (uint32_t i = 0; i < D; i++) q[i] = (float)rig_random(&state), out[i] = 0.0f;
        kvc_coder_transform(&coder, row % 2, x, y);
        got = kvc_coder_fold_query(&coder, row % 2, q, folded);
        for (uint32_t i = 0; i < D; i++) {
            want += (double)q[i] * x[i];
            got += (double)folded[i] * y[i];
            scale += fabs((double)q[i] * x[i]);
        }
        ck_assert_double_eq_tol(got, want, 1e-4 * scale);
        kvc_coder_unfold_output(&coder, row % 2, y, 1.0f, out, work);
        for (uint32_t i = 0; i < D; i++) ck_assert_double_eq_tol(out[i], x[i], 1e-4 * scale);
    }
    free(work);
    free(params);
    rig_free(&rig);
}
END_TEST

/* The parameters pass the runtime's checks (rig_fit) and still map rows there and back. */
static void check_works(fit_rig *rig)
{
    kvc_coder coder;
    uint32_t d = rig->data.head_dim;
    void *params = rig_fit(rig, "fp16+klt", &coder);
    float x[512], y[512], back[512] = {0}, *work = malloc(kvc_coder_work(&coder) * sizeof *work);
    for (uint32_t i = 0; i < d; i++) x[i] = rig->data.n_rows ? rig->rows[i] : (float)i;
    kvc_coder_transform(&coder, 0, x, y);
    kvc_coder_unfold_output(&coder, 0, y, 1.0f, back, work);
    for (uint32_t i = 0; i < d; i++) ck_assert_double_eq_tol(back[i], x[i], 0.05 + 1e-3 * fabs((double)x[i]));
    free(work);
    free(params);
    rig_free(rig);
}

START_TEST(klt__lives_with_degenerate_data)
{
    for (uint32_t d = 8; d <= 128; d *= 4) {
        size_t n = (size_t)d * d * sizeof(double);
        fit_rig rig = rig_new(1, d, 0, false); /* nothing seen: no covariance, no mean */
        check_works(&rig);
        rig = rig_new(1, d, 1, false); /* one token */
        check_works(&rig);
        rig = rig_new(1, d, 3, true); /* rank 2 */
        check_works(&rig);
        rig = rig_new(1, d, 100, false); /* zero metric, with a covariance and without */
        memset(rig.metric, 0, n);
        check_works(&rig);
        rig = rig_new(1, d, 100, false);
        memset(rig.metric, 0, n);
        memset(rig.cov, 0, n);
        check_works(&rig);
        rig = rig_new(1, d, 100, true); /* constant channels */
        for (size_t r = 0; r < 100; r++)
            for (size_t i = 0; i < d; i += 2) rig.rows[r * d + i] = 3.0f;
        rig_statistics(&rig);
        check_works(&rig);
        rig = rig_new(1, d, 100, false); /* a metric of rank 1, with very large and very small numbers */
        for (size_t i = 0; i < d * d; i++) rig.metric[i] = 1e18 / (double)((1 + i / d) * (1 + i % d));
        for (size_t i = 0; i < d * d; i++) rig.cov[i] *= 1e-30;
        check_works(&rig);
    }
}
END_TEST

/* Without a ridge, a singular metric still gets a basis that fp16 can hold. */
START_TEST(klt__enlarges_a_ridge_that_is_too_small)
{
    enum { D = 64 };
    fit_rig rig = rig_new(1, D, 100, false);
    kvc_codec codec;
    kvc_coder coder;
    fit_options options = fit_defaults;
    fit *f;
    void *params;
    size_t n;
    options.ridge = 0.0;
    for (size_t i = 0; i < D * D; i++) rig.metric[i] = i % (D + 1) == 0 && i < D * 4 ? 1.0 : 0.0;
    ck_assert_int_eq(kvc_codec_parse(&codec, "fp16+klt", NULL), KVC_OK);
    ck_assert_int_eq(rig_fit_new(&f, &rig.data, &options, NULL), KVC_OK);
    ck_assert_int_eq(fit_codec(f, &codec, 8, &params, &n, NULL), KVC_OK);
    ck_assert_int_eq(kvc_coder_init(&coder, &codec, params, 1, D, 8, NULL), KVC_OK);
    basis b = basis_of(&coder, 0);
    double product[D * D];
    eigen_multiply(D, D, D, b.backward, b.forward, product);
    for (size_t i = 0; i < D * D; i++) ck_assert_double_eq_tol(product[i], i % (D + 1) == 0, 1e-3);
    basis_free(b);
    fit_free(f);
    free(params);
    rig_free(&rig);
}
END_TEST

/* Half of the directions have no metric, and without a ridge the others' latents are large: none may be clipped. */
START_TEST(klt__keeps_latents_in_range)
{
    enum { D = 64, ROWS = 100 };
    static const double ridges[] = {0.0, 1e-6, 1e-2};
    for (int c = 0; c < 3; c++) {
        fit_rig rig = rig_new(1, D, ROWS, false);
        uint64_t state = 11;
        kvc_coder coder;
        fit_options options = fit_defaults;
        float y[D], back[D], *work;
        options.ridge = ridges[c];
        for (size_t i = 0; i < D * D; i++) rig.metric[i] = i % (D + 1) == 0 && i < D * D / 2 ? 1.0 : 0.0;
        for (size_t i = 0; i < ROWS * D; i++) rig.rows[i] = 100.0f * (float)rig_random(&state);
        rig_statistics(&rig);
        void *params = rig_fit_with(&rig, &options, "fp16+klt", &coder);
        work = malloc(kvc_coder_work(&coder) * sizeof *work);
        for (size_t row = 0; row < ROWS; row++) {
            const float *x = rig.rows + row * D;
            double error = 0.0, square = 0.0;
            memset(back, 0, sizeof back);
            kvc_coder_transform(&coder, 0, x, y);
            for (uint32_t i = 0; i < D; i++) ck_assert_double_lt(fabs((double)y[i]), 65504.0);
            kvc_coder_unfold_output(&coder, 0, y, 1.0f, back, work);
            for (uint32_t i = 0; i < D / 2; i++) {
                error += ((double)back[i] - x[i]) * ((double)back[i] - x[i]);
                square += (double)x[i] * x[i];
            }
            ck_assert_double_lt(error, 1e-8 * square);
        }
        free(work);
        free(params);
        rig_free(&rig);
    }
}
END_TEST

CHECK_MAIN("fit klt", klt__decorrelates_and_sorts, klt__has_an_exact_inverse, klt__makes_the_metric_a_plain_sum,
           klt__truncates_better_than_any_other_basis, klt__keeps_rows_products_and_outputs,
           klt__lives_with_degenerate_data, klt__enlarges_a_ridge_that_is_too_small, klt__keeps_latents_in_range)
