/* test_fit_join.c - all KV heads in one row: the joined data, and codecs fitted to it. */
#include "check_main.h"
#include "fit_rig.h"
#include "join.h"
#include <omp.h>

enum { H = 3, D = 16, R = 700, PAGE = 32 };

static kvc_error err;

START_TEST(join__puts_heads_side_by_side)
{
    fit_rig rig = rig_new(H, D, R, false);
    joined *j;
    ck_assert_int_eq(joined_new(&j, &rig.data, &err), KVC_OK);
    const fit_data *x = joined_data(j);
    ck_assert_uint_eq(x->n_kv_heads, 1);
    ck_assert_uint_eq(x->head_dim, H * D);
    ck_assert_uint_eq(x->model_head_dim, D);
    ck_assert_uint_eq(x->n_rows, R);
    for (size_t r = 0; r < R; r++)
        for (size_t h = 0; h < H; h++)
            ck_assert_mem_eq(x->rows + (r * H + h) * D, rig.rows + (h * R + r) * D, D * sizeof(float));
    joined_free(j);
    rig_free(&rig);
}
END_TEST

/* A head that matters ten times as much does so in the metric, not in the tokens' weights. */
START_TEST(join__turns_head_weights_into_the_metric)
{
    fit_rig rig = rig_new(H, D, R, true);
    joined *before, *after;
    ck_assert_int_eq(joined_new(&before, &rig.data, &err), KVC_OK);
    for (size_t r = 0; r < R; r++) rig.weights[R + r] *= 10.0f;
    ck_assert_int_eq(joined_new(&after, &rig.data, &err), KVC_OK);
    const fit_data *a = joined_data(before), *b = joined_data(after);
    double sum = 0;
    for (size_t r = 0; r < R; r++) {
        ck_assert_double_eq_tol(a->weights[r], b->weights[r], 1e-5);
        sum += b->weights[r];
    }
    ck_assert_double_eq_tol(sum / R, 1.0, 1e-5);
    for (size_t i = 0; i < H * D; i++)
        for (size_t k = 0; k < H * D; k++) {
            double x = a->metric[i * H * D + k], y = b->metric[i * H * D + k], factor = i / D == 1 ? 10 : 1;
            ck_assert_double_eq_tol(y, factor * x, 1e-9 * (1 + fabs(y)));
            if (i / D != k / D) ck_assert_double_eq(x, 0.0);
        }
    joined_free(before);
    joined_free(after);
    rig_free(&rig);
}
END_TEST

START_TEST(join__covariance_is_that_of_the_rows)
{
    fit_rig rig = rig_new(H, D, R, false);
    joined *j;
    ck_assert_int_eq(joined_new(&j, &rig.data, &err), KVC_OK);
    const fit_data *x = joined_data(j);
    size_t n = H * D;
    for (size_t a = 0; a < n; a += 5)
        for (size_t b = 0; b < n; b += 3) {
            double sum = 0, mass = 0;
            for (size_t r = 0; r < R; r++) {
                double w = x->weights[r];
                mass += w;
                sum += w * (x->rows[r * n + a] - x->mean[a]) * (x->rows[r * n + b] - x->mean[b]);
            }
            ck_assert_double_eq_tol(x->cov[a * n + b], sum / mass, 1e-9 * (1 + fabs(sum / mass)));
            ck_assert_double_eq(x->cov[a * n + b], x->cov[b * n + a]);
        }
    joined_free(j);
    rig_free(&rig);
}
END_TEST

/* Weighted error of a codec on the rig's rows, in the metric of each head. */
static double loss_of(const fit_rig *rig, const char *spec)
{
    kvc_codec codec;
    kvc_coder coder;
    void *params;
    size_t n;
    fit *f;
    fit_options o = fit_defaults;
    ck_assert_int_eq(kvc_codec_parse(&codec, spec, &err), KVC_OK);
    ck_assert_int_eq(rig_fit_new(&f, &rig->data, &o, &err), KVC_OK);
    ck_assert_msg(fit_codec(f, &codec, PAGE, &params, &n, &err) == KVC_OK, "%s", err.message);
    ck_assert_int_eq(kvc_coder_init(&coder, &codec, params, H, D, PAGE, &err), KVC_OK);
    float *x = malloc(PAGE * H * D * sizeof *x), *y = malloc(PAGE * H * D * sizeof *y);
    float *work = malloc(kvc_coder_work(&coder) * sizeof *work);
    uint8_t *block = aligned_alloc(64, (coder.block_bytes + 63u) / 64 * 64);
    double loss = 0;
    for (size_t first = 0; first + PAGE <= R; first += PAGE) {
        for (size_t r = 0; r < PAGE; r++)
            for (size_t h = 0; h < H; h++)
                memcpy(x + (r * H + h) * D, rig->rows + (h * R + first + r) * D, D * sizeof *x);
        for (uint32_t h = 0; h < coder.n_kv_heads; h++) {
            kvc_coder_encode(&coder, h, x + h * D, H * D, block, work);
            kvc_coder_decode(&coder, h, block, y + h * D, H * D, work);
        }
        for (size_t r = 0; r < PAGE; r++)
            for (size_t h = 0; h < H; h++)
                for (size_t a = 0; a < D; a++)
                    for (size_t b = 0; b < D; b++)
                        loss += rig->weights[h * R + first + r] * rig->metric[(h * D + a) * D + b] *
                                (double)(y[(r * H + h) * D + a] - x[(r * H + h) * D + a]) *
                                (double)(y[(r * H + h) * D + b] - x[(r * H + h) * D + b]);
    }
    free(x);
    free(y);
    free(work);
    free(block);
    free(params);
    fit_free(f);
    return loss;
}

/* Heads that say nearly the same, and one that hardly matters: where a joint basis has something to gain. */
START_TEST(join__gains_on_related_heads)
{
    fit_rig rig = rig_new(H, D, R, false);
    uint64_t state = 3;
    for (size_t r = 0; r < R; r++)
        for (size_t i = 0; i < D; i++)
            rig.rows[(R + r) * D + i] = rig.rows[r * D + i] + 0.1f * (float)rig_random(&state);
    for (size_t r = 0; r < R; r++) rig.weights[2 * R + r] *= 0.01f;
    rig_statistics(&rig);
    double apart = loss_of(&rig, "vq4x4+klt"), joint = loss_of(&rig, "vq4x4+klt@joint");
    ck_assert_msg(joint < 0.7 * apart, "joint %g, apart %g", joint, apart);
    rig_free(&rig);
}
END_TEST

START_TEST(join__same_bytes_for_any_threads)
{
    fit_rig rig = rig_new(H, D, R, false);
    kvc_codec codec;
    void *params[2];
    size_t n[2];
    ck_assert_int_eq(kvc_codec_parse(&codec, "vq4x6+klt@joint", &err), KVC_OK);
    for (int i = 0; i < 2; i++) {
        fit *f;
        omp_set_num_threads(i + 1);
        ck_assert_int_eq(rig_fit_new(&f, &rig.data, &fit_defaults, &err), KVC_OK);
        ck_assert_int_eq(fit_codec(f, &codec, PAGE, &params[i], &n[i], &err), KVC_OK);
        fit_free(f);
    }
    ck_assert_uint_eq(n[0], n[1]);
    ck_assert_mem_eq(params[0], params[1], n[0]);
    free(params[0]);
    free(params[1]);
    rig_free(&rig);
}
END_TEST

START_TEST(join__degenerate_data_gives_a_codec)
{
    fit_rig rig = rig_new(H, D, 1, false);
    memset(rig.weights, 0, H * sizeof(float));
    memset(rig.metric, 0, H * D * D * sizeof(double));
    memset(rig.cov, 0, H * D * D * sizeof(double));
    for (size_t n = 0; n < 2; n++) {
        kvc_codec codec;
        void *params;
        size_t bytes;
        fit *f;
        rig.data.n_rows = n;
        ck_assert_int_eq(kvc_codec_parse(&codec, "vq8x8+klt@joint", &err), KVC_OK);
        ck_assert_int_eq(rig_fit_new(&f, &rig.data, &fit_defaults, &err), KVC_OK);
        ck_assert_msg(fit_codec(f, &codec, PAGE, &params, &bytes, &err) == KVC_OK, "%s", err.message);
        free(params);
        fit_free(f);
    }
    rig_free(&rig);
}
END_TEST

CHECK_MAIN("fit_join", join__puts_heads_side_by_side, join__turns_head_weights_into_the_metric,
           join__covariance_is_that_of_the_rows, join__gains_on_related_heads, join__same_bytes_for_any_threads,
           join__degenerate_data_gives_a_codec)
