/* Tables of vq, lut and seg through fit_codec(): what they reach, what they leave on degenerate data, and the
 * allocation of seg's bits. */
#include "check_main.h"
#include "fit_rig.h"
#include "fit.h"
#include "kmeans.h"
#include "order.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

enum { HEADS = 2, DIM = 64, PAGE = 64, MOST_ROWS = 1024 };

static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*state >> 11) + 0.5) * 0x1p-53;
}

static double normal(uint64_t *state)
{
    double radius = sqrt(-2.0 * log(uniform(state)));
    return radius * cos(6.283185307179586 * uniform(state));
}

typedef struct side {
    fit_data data;
    float *rows, *weights;
    double *zeros; /* for the statistics that tables do not use */
} side;

/* Normal channels whose deviation falls by half every 16, other in each head. */
static side side_new(size_t n_rows, uint64_t seed)
{
    side s = {.rows = malloc((HEADS * n_rows * DIM + 1) * sizeof(float)),
              .weights = malloc((HEADS * n_rows + 1) * sizeof(float)),
              .zeros = calloc(HEADS * DIM * DIM, sizeof(double))};
    for (size_t i = 0; i < HEADS * n_rows; i++) {
        double factor = i < n_rows ? 1.0 : 5.0;
        s.weights[i] = (float)fmin(exp(1.5 * normal(&seed)), 200.0);
        for (uint32_t c = 0; c < DIM; c++) s.rows[i * DIM + c] = (float)(factor * exp2(-(c / 16.0)) * normal(&seed));
    }
    s.data = (fit_data){.n_kv_heads = HEADS,
                        .head_dim = DIM,
                        .n_rows = n_rows,
                        .rows = s.rows,
                        .weights = s.weights,
                        .mean = s.zeros,
                        .cov = s.zeros,
                        .metric = s.zeros,
                        .absmax = s.zeros};
    return s;
}

static void side_free(side *s)
{
    free(s->rows);
    free(s->weights);
    free(s->zeros);
}

/* The constants of a codec; owned, *n bytes. */
static void *constants(const side *s, const fit_options *options, const char *spec, kvc_coder *coder)
{
    kvc_codec codec;
    kvc_error err = {""};
    fit *f;
    void *params;
    size_t n;
    ck_assert_msg(kvc_codec_parse(&codec, spec, &err) == KVC_OK, "%s", err.message);
    ck_assert_msg(rig_fit_new(&f, &s->data, options, &err) == KVC_OK, "%s", err.message);
    ck_assert_msg(fit_codec(f, &codec, PAGE, &params, &n, &err) == KVC_OK, "%s: %s", spec, err.message);
    ck_assert_msg(kvc_coder_init(coder, &codec, params, HEADS, DIM, PAGE, &err) == KVC_OK, "%s", err.message);
    ck_assert_uint_eq(n, coder->codec.param_bytes);
    fit_free(f);
    return params;
}

/* Weighted error of the first rows of each head under the coder, over their energy. */
static double relative_error(const kvc_coder *coder, const side *s)
{
    size_t n = s->data.n_rows < MOST_ROWS ? s->data.n_rows / PAGE * PAGE : MOST_ROWS;
    float decoded[PAGE * DIM], *work = malloc(kvc_coder_work(coder) * sizeof *work);
    uint8_t *block = aligned_alloc(16, coder->block_bytes);
    double error = 0.0, energy = 0.0;
    for (uint32_t head = 0; head < HEADS; head++)
        for (size_t row = 0; row < n; row += PAGE) {
            const float *x = s->rows + (head * s->data.n_rows + row) * DIM;
            const float *w = s->weights + head * s->data.n_rows + row;
            kvc_coder_encode(coder, head, x, DIM, block, work);
            kvc_coder_decode(coder, head, block, decoded, DIM, work);
            for (uint32_t i = 0; i < PAGE * DIM; i++) {
                error += (double)w[i / DIM] * pow((double)x[i] - (double)decoded[i], 2);
                energy += (double)w[i / DIM] * pow((double)x[i], 2);
            }
        }
    free(work);
    free(block);
    return error / energy;
}

static double fitted_error(const side *s, const fit_options *options, const char *spec, const side *seen)
{
    kvc_coder coder;
    void *params = constants(s, options, spec, &coder);
    double error = relative_error(&coder, seen);
    free(params);
    return error;
}

/* Every vector alike, every token too. */
static void whiten(side *s)
{
    for (size_t i = 0; i < HEADS * s->data.n_rows; i++) {
        s->weights[i] = 1.0f;
        for (uint32_t c = 0; c < DIM; c++) s->rows[i * DIM + c] *= (float)exp2(c / 16.0);
    }
}

START_TEST(tables__reach_the_figures_of_a_normal_distribution)
{
    /* Relative errors of optimal quantisers (per value, scaled channels), a little more where one table serves
     * vectors of unequal spectra. The points are others than those fitted to. */
    static const struct {
        const char *spec;
        double most;
    } figures[] = {
        {"lut1", .3634 * 1.01},         {"lut3", .03454 * 1.02},
        {"lut3.head", .03454 * 1.03},   {"lut3.static", .03454 * 1.08},
        {"vq2x4", .1086 * 1.02},        {"vq2x6", .0297 * 1.04},
        {"vq2x6.static", .0297 * 1.25}, {"seg[3,3,3,3,3,3,3,3].static", .03454 * 1.08},
    };
    side fitted = side_new(8192, 1), fresh = side_new(MOST_ROWS, 2);
    fit_options thorough = fit_defaults;
    thorough.restarts = 2;
    thorough.iterations = 30;
    whiten(&fitted);
    whiten(&fresh);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        double error = fitted_error(&fitted, &thorough, figures[i].spec, &fresh);
        ck_assert_msg(error < figures[i].most, "%s: %g, not %g", figures[i].spec, error, figures[i].most);
    }
    side_free(&fitted);
    side_free(&fresh);
}
END_TEST

/* On one spectrum at one bit: vectors beat scalars, own tables beat shared ones, those of heads that are alike do
 * not.
 */
START_TEST(tables__order_is_as_it_should_be)
{
    side s = side_new(4096, 3);
    const fit_options *o = &fit_defaults;
    double lut = fitted_error(&s, o, "lut1", &s), pair = fitted_error(&s, o, "vq2x2", &s);
    double eight = fitted_error(&s, o, "vq8x8", &s), own = fitted_error(&s, o, "vq8x8.static", &s);
    double mix = fitted_error(&s, o, "vq[8*2,4*4,2*8]x4", &s), head = fitted_error(&s, o, "vq8x8.head", &s);
    ck_assert_msg(eight < .7 * pair && pair < lut, "%g %g %g", lut, pair, eight);
    ck_assert_msg(own < eight && head < 1.05 * eight, "%g shared, %g a head, %g own", eight, head, own);
    ck_assert_msg(mix < lut, "%g mix, %g", mix, lut);
    side_free(&s);
}
END_TEST

/* Heavy tokens lie elsewhere than the others. */
START_TEST(tables__weights_pay)
{
    static const char *const specs[] = {"vq4x6", "vq2x4.head", "vq4x5.static", "lut2", "seg[3,3,2,2,1,1,1,0].static"};
    side s = side_new(4096, 3), plain = side_new(4096, 3);
    for (size_t i = 0; i < HEADS * 4096; i++) {
        s.weights[i] = i % 8 ? .1f : 20.0f;
        plain.weights[i] = 1.0f;
        for (uint32_t c = 0; c < DIM && i % 8 == 0; c++) s.rows[i * DIM + c] += c % 3 ? 1.0f : -2.0f;
    }
    memcpy(plain.rows, s.rows, sizeof(float) * HEADS * 4096 * DIM);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        double with = fitted_error(&s, &fit_defaults, specs[i], &s);
        double without = fitted_error(&plain, &fit_defaults, specs[i], &s);
        ck_assert_msg(with < .95 * without, "%s: %g, %g without", specs[i], with, without);
    }
    side_free(&s);
    side_free(&plain);
}
END_TEST

START_TEST(tables__scales_make_weighted_energies_equal)
{
    side s = side_new(1000, 3);
    kvc_coder coder;
    void *params = constants(&s, &fit_defaults, "vq[16*2,2*8]x4", &coder);
    for (uint32_t head = 0; head < HEADS; head++) {
        double energy[DIM] = {0}, weight = 0.0;
        for (size_t row = 0; row < 1000; row++) {
            double w = (double)s.weights[head * 1000 + row];
            const float *y = s.rows + (head * 1000 + row) * DIM;
            weight += w;
            for (uint32_t c = 0; c < DIM; c++) energy[c] += w * (double)y[c] * (double)y[c];
        }
        const float *scale = (const float *)coder.part[4] + head * 18;
        const uint16_t *order = (const uint16_t *)((const float *)coder.part[4] + HEADS * 18) + head * 48;
        for (uint32_t g = 0; g < 18; g++) {
            uint32_t dims = g < 16 ? 2 : 8;
            double sum = 0.0;
            for (uint32_t k = 0; k < dims; k++) sum += energy[*order++] / weight;
            ck_assert_double_eq_tol(sum / dims / ((double)scale[g] * (double)scale[g]), 1.0, 1e-5);
        }
    }
    free(params);
    side_free(&s);
}
END_TEST

/* The scales of codes that heads share out, from energies or from fourth powers. */
static void check_shared_scales(const side *s, const char *spec, bool fourth)
{
    kvc_coder coder;
    void *params = constants(s, &fit_defaults, spec, &coder);
    const uint32_t *counts = coder.part[4];
    const float *scale = (const float *)(counts + HEADS);
    const uint16_t *orders = (const uint16_t *)(scale + counts[0] + counts[1]);
    size_t n = s->data.n_rows;
    for (uint32_t head = 0; head < HEADS; head++) {
        double mean[DIM] = {0}, weight = 0.0;
        for (size_t at = head * n; at < (head + 1) * n; at++) {
            weight += (double)s->weights[at];
            for (uint32_t c = 0; c < DIM; c++)
                mean[c] += (double)s->weights[at] * pow((double)s->rows[at * DIM + c], fourth ? 4.0 : 2.0);
        }
        kvc_code_class classes[2] = {{0}};
        kvc_share_classes(DIM, counts[head], classes);
        const uint16_t *order = orders + head * DIM;
        for (uint32_t i = 0; i < classes[0].n + classes[1].n; i++, scale++) {
            uint32_t dims = classes[i < classes[0].n ? 0 : 1].dims;
            double sum = 0.0;
            for (uint32_t k = 0; k < dims; k++, order++)
                sum += fourth ? sqrt(mean[*order] / weight / 3.0) : mean[*order] / weight;
            ck_assert_msg(fabs(sum / dims / ((double)*scale * (double)*scale) - 1.0) < 1e-5, "%s, head %u, code %u",
                          spec, head, i);
        }
    }
    free(params);
}

START_TEST(tables__scales_beside_bytes_come_from_fourth_powers)
{
    side s = side_new(1000, 3);
    check_shared_scales(&s, "vq[12]x8", true);
    check_shared_scales(&s, "vq[24]x8", true); /* of codes of two channels too */
    check_shared_scales(&s, "vq[24]x7", false);
    side_free(&s);
}
END_TEST

START_TEST(tables__few_rows_of_many_lose_little)
{
    side s = side_new(4096, 3);
    fit_options few = fit_defaults;
    few.table_rows = 4096;
    double all = fitted_error(&s, &fit_defaults, "vq4x6", &s), sampled = fitted_error(&s, &few, "vq4x6", &s);
    ck_assert_msg(sampled > all && sampled < 1.2 * all, "%g of all, %g of a sample", all, sampled);
    side_free(&s);
}
END_TEST

/* Channels of a steep spectrum, few codes: their rates are balanced. Of a flat one, with short codes enough for the
 * channels that need them: neighbours share codes. */
START_TEST(tables__take_the_better_arrangement)
{
    static const struct {
        const char *spec;
        double fall;
        bool bands;
    } cases[] = {{"vq[4*8,2*16]x8", .25, false}, {"vq[8*2,4*4]x8", .05, true}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        side s = side_new(4096, 3);
        kvc_coder coder;
        uint32_t same = 0, kept = 0;
        code_classes classes = {0};
        for (size_t i = 0; i < (size_t)HEADS * 4096 * DIM; i++)
            s.rows[i] *= (float)exp2((double)(i % DIM) * (1.0 / 16.0 - cases[k].fall));
        void *params = constants(&s, &fit_defaults, cases[k].spec, &coder);
        for (uint32_t c = 0; c < 5; c++)
            if (coder.codec.segment[c]) classes_add(&classes, coder.codec.segment[c], 1u << c);
        kept = HEADS * classes.n_kept;
        const uint16_t *order = (const uint16_t *)((const float *)coder.part[4] + HEADS * classes.n_codes);
        for (uint32_t head = 0; head < HEADS; head++) {
            double energy[DIM];
            uint16_t bands[DIM];
            for (uint32_t c = 0; c < DIM; c++) energy[c] = exp2(-2.0 * cases[k].fall * c);
            order_bands(&classes, DIM, energy, bands);
            for (uint32_t i = 0; i < classes.n_kept; i++) same += bands[i] == order[head * classes.n_kept + i];
        }
        ck_assert_msg(cases[k].bands == (same > kept / 2), "%s: %u of %u alike", cases[k].spec, same, kept);
        free(params);
        side_free(&s);
    }
}
END_TEST

static const char *const every_kind[] = {"lut1",
                                         "lut4.head",
                                         "lut8.static",
                                         "vq2x8",
                                         "vq4x8.head",
                                         "vq8x8",
                                         "vq16x4.static",
                                         "vq[16*1,4*2,2*4,2*8]x6.static",
                                         "vq[4*8,2*16]x8",
                                         "vq[4]x8",
                                         "vq[12]x8",
                                         "vq8x10",
                                         "vq1x9",
                                         "seg[8,4,2,1,1,0,0,0].static",
                                         "vq4x6+had",
                                         "vq8x8+klt",
                                         "seg[8,4,2,1,1,0,0,0].ch+klt"};

START_TEST(tables__degenerate_data_give_a_codec_that_works)
{
    for (uint32_t kind = 0; kind < 8; kind++) {
        static const size_t n_rows[] = {0, 1, 5, 200, 200, 200, 200, 200};
        side s = side_new(n_rows[kind], 3), page = side_new(PAGE, 4);
        size_t n = HEADS * n_rows[kind];
        for (size_t i = 0; i < n * DIM && kind > 2; i++) {
            if (kind == 3) s.rows[i] = 0.0f;
            if (kind == 4) s.rows[i] = i % DIM < 40 ? 2.5f : s.rows[i]; /* constant channels */
            if (kind == 6) s.rows[i] = i % 2 ? 65504.0f : -65504.0f;
            if (kind == 7) s.rows[i] *= 1e-30f;
        }
        for (size_t i = 0; i < n && kind == 5; i++) s.weights[i] = 0.0f;
        if (n_rows[kind] == 200) memcpy(page.rows, s.rows, sizeof(float) * PAGE * DIM);
        for (size_t i = 0; i < sizeof every_kind / sizeof *every_kind; i++) {
            double error = fitted_error(&s, &fit_defaults, every_kind[i], &page);
            ck_assert_msg(isfinite(error) || kind == 3, "%s, kind %u: %g", every_kind[i], kind, error);
        }
        side_free(&s);
        side_free(&page);
    }
}
END_TEST

START_TEST(tables__few_rows_are_kept_as_they_are)
{
    side s = side_new(PAGE, 3);
    for (size_t i = 0; i < (size_t)HEADS * PAGE * DIM; i++) { /* three distinct rows, of values that fp16 has */
        size_t row = i / DIM;
        s.rows[i] = (float)((int)(row % 3 + i % DIM) % 5 - 2);
    }
    ck_assert(fitted_error(&s, &fit_defaults, "vq8x2.static", &s) < 1e-6);
    ck_assert(fitted_error(&s, &fit_defaults, "seg[2,2,2,2,2,2,2,2].static", &s) == 0.0);
    side_free(&s);
}
END_TEST

START_TEST(tables__threads_change_no_byte)
{
    side s = side_new(600, 3);
    fit_options drawn = fit_defaults;
    int before = omp_get_max_threads();
    drawn.table_rows = 8000;
    for (size_t i = 0; i < sizeof every_kind / sizeof *every_kind; i++) {
        void *params[2];
        kvc_coder coder;
        for (int threads = 1; threads <= 2; threads++) {
            omp_set_num_threads(threads);
            params[threads - 1] = constants(&s, i % 2 ? &drawn : &fit_defaults, every_kind[i], &coder);
        }
        if (coder.codec.param_bytes) ck_assert_mem_eq(params[0], params[1], coder.codec.param_bytes);
        free(params[0]);
        free(params[1]);
    }
    omp_set_num_threads(before);
    side_free(&s);
}
END_TEST

/* Whether the tables of a uniform vq have bytes. */
static bool are_bytes(const kvc_coder *coder)
{
    uint32_t codes = HEADS * DIM / coder->codec.dims;
    const uint16_t *order = (const uint16_t *)((const float *)coder->part[4] + codes), *tables = order + HEADS * DIM;
    size_t n = (size_t)((const uint16_t *)coder->params + coder->codec.param_bytes / 2 - tables);
    float *values = malloc(n * sizeof *values);
    kvc_rows_to_float(tables, KVC_F16, n, values);
    bool all = rig_are_bytes(values, n);
    free(values);
    return all;
}

START_TEST(tables__that_kernels_look_up_have_bytes)
{
    static const struct {
        const char *spec;
        bool bytes;
    } cases[] = {{"vq4x8", true},         {"vq8x8", true},  {"vq4x8+klt", true}, {"vq8x8.head", false},
                 {"vq4x8.static", false}, {"vq2x8", false}, {"vq4x6", false},    {"vq4x8@joint", false}};
    static const size_t n_rows[] = {0, 5, 600};
    for (size_t k = 0; k < sizeof n_rows / sizeof *n_rows; k++) {
        side s = side_new(n_rows[k], 3);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            kvc_coder coder;
            void *params = constants(&s, &fit_defaults, cases[i].spec, &coder);
            ck_assert_msg(are_bytes(&coder) == (cases[i].bytes || n_rows[k] == 0), "%s of %zu rows", cases[i].spec,
                          n_rows[k]);
            free(params);
        }
        side_free(&s);
    }
}
END_TEST

/* Whether heads have codes of `dims` channels among those that they share out. */
static bool in_use(const kvc_coder *coder, uint32_t dims)
{
    const uint32_t *counts = coder->part[4];
    for (uint32_t head = 0; head < coder->n_kv_heads; head++) {
        kvc_code_class classes[2];
        uint32_t n = counts[head] ? kvc_share_classes(coder->head_dim, counts[head], classes) : 0;
        for (uint32_t i = 0; i < n; i++)
            if (classes[i].dims == dims) return true;
    }
    return false;
}

/* The table for codes of `dims` channels of those that heads share out: it has bytes, unless all are zero. */
static bool is_bytes(const kvc_coder *coder, uint32_t dims, bool *zero)
{
    uint32_t bits = coder->codec.bits;
    size_t n = (size_t)dims << bits, end = kvc_coder_part_offset(coder, 4) + kvc_coder_part_bytes(coder, 4);
    const uint16_t *tables = (const uint16_t *)((const char *)coder->params + end) - ((size_t)31 << bits);
    float values[16 << 8];
    kvc_rows_to_float(tables + ((size_t)(dims - 1) << bits), KVC_F16, n, values);
    *zero = true;
    for (size_t i = 0; i < n; i++) *zero = *zero && values[i] == 0.0f;
    return !*zero && rig_are_bytes(values, n);
}

START_TEST(tables__of_shared_codes_have_bytes_for_4_channels_and_more)
{
    static const struct {
        const char *spec;
        bool bytes;
    } cases[] = {{"vq[2]x8", true},  {"vq[6]x8+klt", true}, {"vq[12]x8", true},       {"vq[16]x8+klt", true},
                 {"vq[30]x8", true}, {"vq[40]x8", true},    {"vq[8]x8@joint", false}, {"vq[12]x6", false}};
    static const size_t n_rows[] = {5, 600};
    for (size_t k = 0; k < sizeof n_rows / sizeof *n_rows; k++) {
        side s = side_new(n_rows[k], 3);
        uint32_t met = 0;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            kvc_coder coder;
            void *params = constants(&s, &fit_defaults, cases[i].spec, &coder);
            for (uint32_t dims = 1; dims <= 16; dims *= 2) {
                bool zero, bytes = is_bytes(&coder, dims, &zero), used = in_use(&coder, dims);
                ck_assert_msg(zero == !used, "%s, %u", cases[i].spec, dims);
                if (!used) continue;
                ck_assert_msg(bytes == (cases[i].bytes && dims >= 4), "%s of %zu rows, %u", cases[i].spec, n_rows[k],
                              dims);
                ck_assert((kvc_coder_byte_step(&coder, dims) > 0.0f) == bytes);
                met |= bytes ? dims : dims << 8;
            }
            free(params);
        }
        ck_assert_msg((met & 0xffu) == (4 | 8 | 16) && (met >> 8 & 3u) == 3, "%x", met);
        side_free(&s);
    }
}
END_TEST

/* A thousandth of the tokens is far out, of one code most: the step still serves the others. */
START_TEST(tables__of_bytes_bear_values_far_out)
{
    side s = side_new(8192, 3);
    for (size_t i = 0; i < (size_t)HEADS * 8192; i += 1024) s.rows[i * DIM + 40] = 12.0f;
    double error = fitted_error(&s, &fit_defaults, "vq4x8", &s),
           mix = fitted_error(&s, &fit_defaults, "vq[16*4]x8", &s);
    ck_assert_msg(error < 1.05 * mix, "%g, %g without bytes", error, mix);
    side_free(&s);
}
END_TEST

CHECK_MAIN("fit_table", tables__reach_the_figures_of_a_normal_distribution, tables__order_is_as_it_should_be,
           tables__weights_pay, tables__scales_make_weighted_energies_equal,
           tables__scales_beside_bytes_come_from_fourth_powers, tables__few_rows_of_many_lose_little,
           tables__take_the_better_arrangement, tables__degenerate_data_give_a_codec_that_works,
           tables__few_rows_are_kept_as_they_are, tables__that_kernels_look_up_have_bytes,
           tables__of_shared_codes_have_bytes_for_4_channels_and_more, tables__of_bytes_bear_values_far_out,
           tables__threads_change_no_byte)
