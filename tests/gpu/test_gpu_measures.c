/* test_gpu_measures.c - what the CUDA backend measures against the CPU backend: logits, sums over rows and columns,
 * moments, the probe of candidates, sensitivity. Twice the same call gives the same bits. */
#include "gpu_check.h"

/* Lengths around strips and blocks, groups of 1 to 8; no window, no sinks, pages that never fill, more sinks than
 * tokens. */
static const shape shapes[] = {
    {1, 1, 1, 64, {0, 0, 8}},       {2, 3, 1, 64, {0, 0, 8}},       {63, 3, 3, 64, {4, 8, 16}},
    {64, 8, 1, 128, {0, 0, 64}},    {65, 3, 1, 80, {0, 0, 8}},      {300, 9, 3, 64, {4, 64, 64}},
    {300, 8, 1, 80, {5, 30, 32}},   {300, 8, 8, 128, {4, 16, 64}},  {300, 4, 2, 66, {3, 7, 8}},
    {700, 4, 4, 8, {5, 20, 32}},    {200, 6, 2, 16, {4, 64, 256}},  {200, 2, 1, 64, {250, 4, 8}},
    {1100, 3, 1, 64, {0, 500, 64}}, {600, 16, 2, 128, {4, 64, 64}},
};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

/* ---- logits */

/* Vocabulary in blocks; the largest logit comes late, and twice. */
static void compare_logits__agrees(size_t rows, size_t ref_rows, size_t vocab, size_t block, int same)
{
    logit_sums *want = memory(rows * sizeof *want), *got = memory(rows * sizeof *got);
    uint32_t *targets = memory(ref_rows * sizeof *targets);
    char text[64];
    snprintf(text, sizeof text, "%zu rows beside %zu, %zu by %zu%s", rows, ref_rows, vocab, block,
             same ? ", one model" : "");
    for (size_t r = 0; r < ref_rows; r++) targets[r] = (uint32_t)(r * 977 % vocab);
    logit_sums_start(rows, want);
    logit_sums_start(rows, got);
    for (size_t first = 0; first < vocab; first += block) {
        size_t n = vocab - first < block ? vocab - first : block;
        float *ref = random_floats(ref_rows * n, (uint32_t)first + 1, 8, 0),
              *cfg = random_floats(rows * n, (uint32_t)first + 9, 8, 0);
        for (size_t r = 0; r < ref_rows && n > 40; r++) ref[r * n + 17] = ref[r * n + 39] = 9 + (float)first / 1000;
        float *dev_ref = on_gpu(ref, ref_rows * n), *dev_cfg = on_gpu(cfg, rows * n);
        must(cpu->compare_logits(cpu, rows, ref_rows, first, n, ref, same ? ref : cfg, targets, want, &error),
             "logits");
        must(gpu->compare_logits(gpu, rows, ref_rows, first, n, dev_ref, same ? dev_ref : dev_cfg, targets, got,
                                 &error),
             "logits");
        release(dev_ref), release(dev_cfg);
        free(ref), free(cfg);
    }
    double worst = 0;
    int alike = 1;
    for (size_t r = 0; r < rows; r++) {
        logit_row a = logit_sums_finish(&got[r]), b = logit_sums_finish(&want[r]);
        worst = fmax(worst, fabs(a.nll_ref - b.nll_ref) + fabs(a.nll_cfg - b.nll_cfg) + fabs(a.kl - b.kl));
        alike &= a.top_ref == b.top_ref && a.top_cfg == b.top_cfg && isfinite(a.kl + a.nll_ref + a.nll_cfg);
    }
    report(alike, "largest logits", text, 0);
    report(worst < 2e-6, "compare_logits", text, worst);
    free(want), free(got), free(targets);
}

/* ---- sums */

static void sums__agree(size_t rows, size_t width)
{
    size_t n = rows * width;
    float *x = random_floats(n, 1, 3, 0.5f), *y = random_floats(n, 2, 3, 0);
    x[n / 2] = 0;
    float *dev_x = on_gpu(x, n), *dev_y = on_gpu(y, n);
    double *want = memory((rows + 4 * width + 2) * sizeof *want), *got = memory((rows + 4 * width + 2) * sizeof *got);
    char text[64];
    snprintf(text, sizeof text, "%zu x %zu", rows, width);
    for (int i = 0; i < 2; i++) {
        backend *b = i ? gpu : cpu;
        const float *p = i ? dev_x : x, *q = i ? dev_y : y;
        double *out = i ? got : want, *columns = out + rows, *pair = columns + 4 * width;
        for (size_t c = 0; c < 4 * width + 2; c++) columns[c] = c / width == 2 ? 1.0 : c / width == 3 ? -1.0 : 0.25;
        must(b->row_power(b, rows, width, p, out, &error), "row_power");
        must(b->column_stats(b, rows, width, p, columns, columns + width, columns + 2 * width, columns + 3 * width,
                             &error),
             "column_stats");
        must(b->relative_error(b, n, p, q, pair, pair + 1, &error), "relative_error");
    }
    check_doubles("row_power", text, rows, got, want, 1e-12, 0);
    check_doubles("column_stats", text, 2 * width, got + rows, want + rows, 1e-12, 1e-3);
    report(memcmp(got + rows + 2 * width, want + rows + 2 * width, 2 * width * sizeof *got) == 0, "least and most",
           text, 0);
    check_doubles("relative_error", text, 2, got + rows + 4 * width, want + rows + 4 * width, 1e-12, 0);
    must(gpu->column_stats(gpu, rows, width, dev_x, got + rows, got + rows + width, NULL, NULL, &error),
         "no extremes");
    release(dev_x), release(dev_y);
    free(x), free(y), free(want), free(got);
}

static void moments__agree(size_t rows, size_t n_heads, size_t d)
{
    size_t n = n_heads * (1 + d + d * d), stride = rows + 3;
    float *x = random_floats(rows * n_heads * d, 1, 1, 0.3f), *dev_x = on_gpu(x, rows * n_heads * d);
    double *weights = memory(n_heads * stride * sizeof *weights), *want = memory(n * sizeof *want),
           *got = memory(n * sizeof *got);
    uint32_t seed = 5;
    char text[64];
    snprintf(text, sizeof text, "%zu rows, %zu heads, d %zu", rows, n_heads, d);
    for (size_t i = 0; i < n_heads * stride; i++) weights[i] = i % stride < rows ? fabs(noise(&seed)) : NAN;
    for (size_t i = 0; i < n; i++) want[i] = got[i] = 0.5;
    for (int i = 0; i < 2; i++) {
        backend *b = i ? gpu : cpu;
        double *out = i ? got : want;
        must(b->moments(b, rows, n_heads, d, i ? dev_x : x, weights, stride, out, out + n_heads,
                        out + n_heads * (1 + d), &error),
             text);
    }
    check_doubles("moments", text, n, got, want, 1e-11, 1e-3);
    release(dev_x);
    free(x), free(weights), free(want), free(got);
}

/* ---- probe */

enum { KEYS = 3, VALUES = 4 };

typedef struct probe_data {
    size_t q, kv, D;
    float *host[3 + KEYS + VALUES], *dev[3 + KEYS + VALUES]; /* q, k, v, candidates */
    uint32_t rows[100], n_rows;
} probe_data;

/* Values are far from 0: the relative error of an output near 0 is mostly rounding. */
static probe_data probe_new(const shape *s, float spread)
{
    probe_data p = {.q = (size_t)s->tokens * s->heads * s->d,
                    .kv = (size_t)s->tokens * s->kv_heads * s->d,
                    .D = (size_t)s->heads * s->d};
    for (int i = 0; i < 3; i++)
        p.host[i] = random_floats(i ? p.kv : p.q, 1 + (uint32_t)i, i == 2 ? 1 : 2, i == 2 ? 2.5f : 0);
    for (int i = 3; i < 3 + KEYS + VALUES; i++) {
        const float *from = p.host[i < 3 + KEYS ? 1 : 2];
        p.host[i] = random_floats(p.kv, 10 + (uint32_t)i, spread * (float)i, 0);
        for (size_t j = 0; j < p.kv; j++) p.host[i][j] += from[j];
    }
    for (int i = 0; i < 3 + KEYS + VALUES; i++) p.dev[i] = on_gpu(p.host[i], i ? p.kv : p.q);
    uint32_t step = s->tokens / 70 + 1; /* more rows than a strip, the last token among them */
    for (uint32_t t = (s->tokens - 1) % step; t < s->tokens; t += step) p.rows[p.n_rows++] = t;
    return p;
}

static void probe_free(probe_data *p)
{
    for (int i = 0; i < 3 + KEYS + VALUES; i++) free(p->host[i]), release(p->dev[i]);
}

/* out, deltas: [1 + KEYS + VALUES][n_rows][D]; sums: scores, outputs, number */
static void probe_run(const shape *s, const probe_data *p, backend *b, const bool *paired, uint32_t n_keys,
                      uint32_t n_values, float **out, double *sums)
{
    const float *const *from = b == cpu ? (const float *const *)p->host : (const float *const *)p->dev;
    probe_args a = {.n_tokens = s->tokens,
                    .n_heads = s->heads,
                    .n_kv_heads = s->kv_heads,
                    .head_dim = s->d,
                    .scale = 1 / sqrtf((float)s->d),
                    .policy = s->policy,
                    .q = from[0],
                    .k = from[1],
                    .v = from[2],
                    .n_rows = p->n_rows,
                    .rows = p->rows,
                    .n_keys = n_keys,
                    .n_values = n_values,
                    .k_page = from + 3,
                    .v_page = from + 3 + KEYS,
                    .out = out[0],
                    .delta_key = out + 1,
                    .delta_value = out + 1 + KEYS,
                    .score_error = sums,
                    .paired = paired,
                    .output_error = sums + KEYS,
                    .n_scores = sums + KEYS + KEYS * VALUES};
    must(b->probe(b, &a, &error), name_of(s));
}

static void probe__agrees(const shape *s, const bool *paired, uint32_t n_keys, uint32_t n_values)
{
    enum { SUMS = KEYS + KEYS * VALUES + 1 };
    probe_data p = probe_new(s, 0.02f);
    size_t n = p.n_rows * p.D;
    float *want[1 + KEYS + VALUES], *dev[1 + KEYS + VALUES];
    double sums[3][SUMS];
    for (int i = 0; i < SUMS; i++) sums[0][i] = sums[1][i] = sums[2][i] = 0.125;
    for (int i = 0; i < 1 + KEYS + VALUES; i++) want[i] = nans(n), dev[i] = poisoned_on_gpu(n);
    probe_run(s, &p, cpu, paired, n_keys, n_values, want, sums[0]);
    probe_run(s, &p, gpu, paired, n_keys, n_values, dev, sums[1]);
    probe_run(s, &p, gpu, paired, n_keys, n_values, dev, sums[2]);
    report(memcmp(sums[1], sums[2], sizeof sums[1]) == 0, "probe twice", name_of(s), 0);
    check_doubles("probe's sums", name_of(s), SUMS, sums[1], sums[0], 1e-4, 1e-6);
    for (uint32_t i = 0; i < 1 + KEYS + VALUES; i++) {
        bool asked = i == 0 || (i <= KEYS ? i - 1 < n_keys : i - 1 - KEYS < n_values);
        if (asked)
            check_gpu(i == 0 ? "probe's outputs" : "probe's differences", name_of(s), n, dev[i], want[i],
                      i ? 1e-3 : 3e-6);
        else
            release(dev[i]);
        free(want[i]);
    }
    probe_free(&p);
}

/* ---- sensitivity */

typedef struct weights {
    double *key, *value, *query, *anchor;
} weights;

static weights weights_new(const shape *s)
{
    size_t kv = (size_t)s->tokens * s->kv_heads, q = (size_t)s->tokens * s->heads;
    weights w = {memory(kv * 8), memory(kv * 8), memory(q * 8), memory(kv * 8)};
    for (size_t i = 0; i < kv; i++) w.key[i] = w.value[i] = w.anchor[i] = NAN;
    for (size_t i = 0; i < q; i++) w.query[i] = NAN;
    return w;
}

static void weights_free(weights *w)
{
    free(w->key), free(w->value), free(w->query), free(w->anchor);
}

/* W'W of random W, per head */
static float *random_metric(size_t heads, size_t d)
{
    float *W = random_floats(heads * d * d, 4, 0.2f, 0), *metric = memory(heads * d * d * sizeof *metric);
    for (size_t h = 0; h < heads; h++)
        must(cpu->gemm(cpu, d, d, d, W + h * d * d, W + h * d * d, NULL, 0, metric + h * d * d, &error), "metric");
    free(W);
    return metric;
}

static void sensitivity__agrees(const shape *s, float spread, float value_offset, double tolerance)
{
    size_t T = s->tokens, q = T * s->heads * s->d, kv = T * s->kv_heads * s->d;
    float *host[3] = {random_floats(q, 1, spread, 0), random_floats(kv, 2, spread, 0),
                      random_floats(kv, 3, 1, value_offset)};
    float *dev[3], *metric = random_metric(s->heads, s->d);
    weights w[3] = {weights_new(s), weights_new(s), weights_new(s)};
    for (int i = 0; i < 3; i++) dev[i] = on_gpu(host[i], i ? kv : q);
    for (int i = 0; i < 3; i++) {
        backend *b = i ? gpu : cpu;
        float **from = i ? dev : host;
        sensitivity_args a = {s->tokens,
                              s->heads,
                              s->kv_heads,
                              s->d,
                              1 / sqrtf((float)s->d),
                              s->policy,
                              from[0],
                              from[1],
                              from[2],
                              metric,
                              w[i].key,
                              w[i].value,
                              w[i].query,
                              i == 2 ? NULL : w[i].anchor};
        must(b->sensitivity(b, &a, &error), name_of(s));
    }
    size_t rows = T * s->kv_heads, queries = T * s->heads;
    check_doubles("key weights", name_of(s), rows, w[1].key, w[0].key, tolerance, 1e-6);
    check_doubles("value weights", name_of(s), rows, w[1].value, w[0].value, tolerance, 1e-6);
    check_doubles("query weights", name_of(s), queries, w[1].query, w[0].query, tolerance, 1e-6);
    check_doubles("anchor scores", name_of(s), rows, w[1].anchor, w[0].anchor, tolerance, 1e-6);
    report(memcmp(w[1].key, w[2].key, rows * 8) == 0 && memcmp(w[1].query, w[2].query, queries * 8) == 0,
           "weights twice", name_of(s), 0);
    report(isnan(w[2].anchor[0]), "no anchor scores", name_of(s), 0);
    for (int i = 0; i < 3; i++) weights_free(&w[i]), free(host[i]), release(dev[i]);
    free(metric);
}

int main(void)
{
    static const bool paired[KEYS] = {true, false, true};
    open_backends("cuda");
    for (int same = 0; same < 2; same++) {
        compare_logits__agrees(1, 1, 1, 1, same);
        compare_logits__agrees(7, 7, 1000, 333, same);
        compare_logits__agrees(65, 65, 5000, 768, same);
    }
    compare_logits__agrees(66, 22, 1000, 768, 0);
    sums__agree(1, 1), sums__agree(3, 65), sums__agree(64, 64), sums__agree(300, 192), sums__agree(2, 5000);
    moments__agree(1, 1, 64), moments__agree(63, 3, 64), moments__agree(300, 8, 80), moments__agree(9000, 8, 128);
    for (size_t i = 0; i < N_SHAPES; i++) {
        if (shapes[i].tokens > MOST_TOKENS) continue;
        probe__agrees(&shapes[i], NULL, KEYS, VALUES);
        probe__agrees(&shapes[i], paired, KEYS, VALUES);
        probe__agrees(&shapes[i], NULL, KEYS, 0);
        probe__agrees(&shapes[i], NULL, 0, VALUES);
        sensitivity__agrees(&shapes[i], 1.5f, 0, 5e-5);
        sensitivity__agrees(&shapes[i], 6, 0, 2e-3); /* sharp attention: O close to one V */
    }
    sensitivity__agrees(&shapes[5], 1.5f, 60, 4e-4);
    return close_backends();
}
