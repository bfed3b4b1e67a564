/* The parameter block of a candidate: what has none, what is shared, what is refused, and that threads change
 * nothing. */
#include <omp.h>
#include <stdio.h>
#include "check_main.h"
#include "fit_rig.h"

enum { D = 64, ROWS = 300 };

typedef struct block {
    void *params;
    size_t n;
} block;

static block fitted_specs(fit *f, const char *spec)
{
    kvc_error err = {""};
    kvc_codec codec;
    block b;
    ck_assert_int_eq(kvc_codec_parse(&codec, spec, NULL), KVC_OK);
    ck_assert_msg(fit_codec(f, &codec, 64, &b.params, &b.n, &err) == KVC_OK, "%s: %s", spec, err.message);
    return b;
}

static fit *fit_of(const fit_rig *rig)
{
    fit *f;
    ck_assert_int_eq(rig_fit_new(&f, &rig->data, &fit_defaults, NULL), KVC_OK);
    return f;
}

START_TEST(fit__gives_nothing_to_codecs_without_constants)
{
    static const char *specs[] = {"fp16", "int4.ch64", "int2.tok32+had"};
    fit_rig rig = rig_new(2, D, ROWS, false);
    fit *f = fit_of(&rig);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        block b = fitted_specs(f, specs[i]);
        ck_assert_ptr_null(b.params);
        ck_assert_uint_eq(b.n, 0);
    }
    fit_free(f);
    rig_free(&rig);
}
END_TEST

START_TEST(fit__gives_one_transform_to_all_candidates)
{
    static const char *transforms[] = {"klt", "rot", "smooth", "perm"};
    fit_rig rig = rig_new(2, D, ROWS, false);
    for (size_t i = 0; i < 4; i++) {
        char specs[3][32];
        block b[4];
        fit *f = fit_of(&rig), *other = fit_of(&rig);
        snprintf(specs[0], sizeof *specs, "fp16+%s", transforms[i]);
        snprintf(specs[1], sizeof *specs, "int4.tok32+%s+had", transforms[i]);
        snprintf(specs[2], sizeof *specs, "int2.ch64+%s", transforms[i]);
        for (size_t k = 0; k < 3; k++) b[k] = fitted_specs(f, specs[k]);
        b[3] = fitted_specs(other, specs[2]);
        for (size_t k = 0; k < 4; k++) {
            ck_assert_uint_gt(b[k].n, 0);
            ck_assert_uint_eq((uintptr_t)b[k].params % 64, 0);
            ck_assert_uint_eq(b[k].n, b[0].n);
            ck_assert_mem_eq(b[k].params, b[0].params, b[0].n);
        }
        for (size_t k = 0; k < 4; k++) free(b[k].params);
        fit_free(f);
        fit_free(other);
    }
    rig_free(&rig);
}
END_TEST

/* Candidates share latent rows; their order must not matter. */
START_TEST(fit__does_not_depend_on_the_order_of_candidates)
{
    static const char *specs[] = {"vq4x4+klt", "vq4x4", "lut3.static+rot", "lut3.static+rot+had", "vq4x4+klt+had"};
    fit_rig rig = rig_new(2, D, ROWS, true);
    fit *f = fit_of(&rig);
    for (size_t round = 0; round < 2; round++)
        for (size_t i = 0; i < 5; i++) {
            fit *alone = fit_of(&rig);
            const char *spec = specs[round ? 4 - i : i];
            block b = fitted_specs(f, spec), want = fitted_specs(alone, spec);
            ck_assert_uint_eq(b.n, want.n);
            ck_assert_mem_eq(b.params, want.params, b.n);
            free(b.params);
            free(want.params);
            fit_free(alone);
        }
    fit_free(f);
    rig_free(&rig);
}
END_TEST

START_TEST(fit__gives_the_same_bytes_on_any_number_of_threads)
{
    static const char *specs[] = {"fp16+klt",        "fp16+rot",  "int4.tok+smooth", "int4.tok32+perm",
                                  "lut3.static+klt", "vq4x4+klt", "vq2x6",           "lut4.head+had"};
    fit_rig rig = rig_new(5, D, ROWS, false);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        block b[3];
        for (int threads = 1; threads <= 3; threads++) {
            omp_set_num_threads(threads);
            fit *f = fit_of(&rig);
            b[threads - 1] = fitted_specs(f, specs[i]);
            fit_free(f);
        }
        ck_assert_mem_eq(b[0].params, b[1].params, b[0].n);
        ck_assert_mem_eq(b[0].params, b[2].params, b[0].n);
        for (int k = 0; k < 3; k++) free(b[k].params);
    }
    rig_free(&rig);
}
END_TEST

/* sum of w e' M e over the sampled rows of head 0, after a round through the runtime's codec. */
static double loss_of(const fit_rig *rig, const char *spec)
{
    kvc_coder coder;
    double loss = 0.0;
    void *params = rig_fit(rig, spec, &coder), *block = aligned_alloc(16, coder.block_bytes);
    float back[8 * D], *work = malloc(kvc_coder_work(&coder) * sizeof *work);
    for (size_t first = 0; first + 8 <= rig->data.n_rows; first += 8) {
        const float *rows = rig->rows + first * D;
        kvc_coder_encode(&coder, 0, rows, D, block, work);
        kvc_coder_decode(&coder, 0, block, back, D, work);
        for (size_t i = 0; i < 8 * D * D; i++) { /* row, channel, channel */
            size_t a = i / D, b = i / (D * D) * D + i % D;
            double error = ((double)back[a] - rows[a]) * ((double)back[b] - rows[b]);
            loss += rig->weights[first + i / (D * D)] * error * rig->metric[i % (D * D)];
        }
    }
    free(params);
    free(block);
    free(work);
    return loss;
}

START_TEST(fit__transforms_lower_the_loss_of_the_symbols_behind_them)
{
    static const struct {
        const char *plain, *transformed;
        double share; /* of the loss that may be left */
    } cases[] = {{"vq4x6", "vq4x6+klt", 0.2},
                 {"int4.tok", "int4.tok+rot", 0.6},
                 {"int4.tok", "int4.tok+smooth", 0.6},
                 {"int2.tok16", "int2.tok16+perm", 0.95}};
    for (int values = 0; values < 2; values++) {
        fit_rig rig = rig_new(1, D, ROWS, values);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            double plain = loss_of(&rig, cases[i].plain), transformed = loss_of(&rig, cases[i].transformed);
            ck_assert_msg(transformed < cases[i].share * plain, "%s: %g of %g", cases[i].transformed, transformed,
                          plain);
        }
        rig_free(&rig);
    }
}
END_TEST

START_TEST(fit__refuses_a_fitted_transform_behind_another)
{
    static const char *specs[] = {"int4.tok+had+klt", "int4.tok+klt+rot", "vq4x4+had+had+smooth"};
    fit_rig rig = rig_new(1, D, 10, false);
    fit *f = fit_of(&rig);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        kvc_error err;
        kvc_codec codec;
        void *params = &codec;
        size_t n = 1;
        ck_assert_int_eq(kvc_codec_parse(&codec, specs[i], NULL), KVC_OK);
        ck_assert_int_eq(fit_codec(f, &codec, 64, &params, &n, &err), KVC_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(err.message, "first of its chain"));
        ck_assert(params == NULL && n == 0);
    }
    fit_free(f);
    rig_free(&rig);
}
END_TEST

START_TEST(fit__refuses_what_is_no_data)
{
    fit_rig rig = rig_new(1, D, 10, false);
    kvc_error err;
    fit *f = NULL;
    fit_options options = fit_defaults;
    double *const numbers[] = {rig.mean, rig.cov, rig.metric, rig.absmax};
    static const char *names[] = {"mean", "covariance", "metric", "magnitudes"};
    for (size_t i = 0; i < 4; i++) {
        double held = numbers[i][D - 1];
        numbers[i][D - 1] = i % 2 ? NAN : INFINITY;
        ck_assert_int_eq(rig_fit_new(&f, &rig.data, &fit_defaults, &err), KVC_NONFINITE);
        ck_assert(f == NULL && strstr(err.message, names[i]));
        numbers[i][D - 1] = held;
    }
    rig.weights[3] = -1.0f;
    ck_assert_int_eq(rig_fit_new(&f, &rig.data, &fit_defaults, &err), KVC_NONFINITE);
    rig.weights[3] = 1.0f;
    rig.rows[9 * D + 5] = NAN;
    ck_assert_int_eq(rig_fit_new(&f, &rig.data, &fit_defaults, &err), KVC_NONFINITE);
    rig.rows[9 * D + 5] = 0.0f;
    options.ridge = -1.0;
    ck_assert_int_eq(rig_fit_new(&f, &rig.data, &options, &err), KVC_INVALID);
    rig.data.head_dim = 12;
    ck_assert_int_eq(rig_fit_new(&f, &rig.data, &fit_defaults, &err), KVC_INVALID);
    rig.data.head_dim = D;
    ck_assert_int_eq(rig_fit_new(&f, &rig.data, &fit_defaults, &err), KVC_OK);
    fit_free(f);
    fit_free(NULL);
    rig_free(&rig);
}
END_TEST

CHECK_MAIN("fit", fit__gives_nothing_to_codecs_without_constants, fit__gives_one_transform_to_all_candidates,
           fit__does_not_depend_on_the_order_of_candidates, fit__gives_the_same_bytes_on_any_number_of_threads,
           fit__transforms_lower_the_loss_of_the_symbols_behind_them, fit__refuses_a_fitted_transform_behind_another,
           fit__refuses_what_is_no_data)
