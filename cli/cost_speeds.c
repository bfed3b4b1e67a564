/* cost_speeds.c - how fast this machine is at each kind of work: products, a layer as a whole, attention, sensitivity
 * weights and moments, fits, codecs, weights on their way to the backend, and SHA-256.
 *
 * One rate does not do: on a GPU products go 20 to 700 times as fast as what is bound by memory, by launches or by
 * the host. Everything is run at the shape that counts, but for its length: attention and weights grow with the
 * square of a sequence, fits with the points of a table. The first call of each is not counted, since it wakes
 * threads and loads code, but for fits, weights on their way and SHA-256, which are timed once. */
#include "cost_model.h"
#include "fit.h"
#include "sha256.h"
#include <math.h>
#include <stdlib.h>
#include <time.h>

enum {
    PRODUCT_ROWS = 512,         /* of a product on the CPU, */
    PRODUCT_ROWS_DEVICE = 4096, /* on a device */
    SAMPLE_TOKENS = 512,        /* of a sequence on the CPU, */
    SAMPLE_TOKENS_DEVICE = 2048,
    SAMPLE_SEQUENCES_DEVICE = 4,
    FIT_SHARE = 4, /* on the CPU the rows and points of a fit are a quarter */
    HASH_BYTES = 8 << 20,
};
#define PROBE_SECONDS 0.2

typedef struct probe {
    speeds *out;
    const subject *subject;
    const settings *s;
    const kvc_token_policy *tokens;
    backend *b;
    const model_config *c;
    bool device;
    size_t longest; /* tokens of a sample */
} probe;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float noise(uint32_t *state)
{
    return (float)((*state = *state * 1664525u + 1013904223u) >> 8) * 0x1p-24f - 0.5f;
}

/* weight: for gemm() to multiply with. *seconds (may be NULL): how long the values take to get there. */
static kvc_status random_buffer(backend *b, size_t n, bool weight, float **out, double *seconds, kvc_error *err)
{
    float *host = malloc(n * sizeof *host);
    uint32_t state = 1;
    if (!host) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a measurement");
    for (size_t i = 0; i < n; i++) host[i] = noise(&state);
    kvc_status status = b->buffer_new(b, n * sizeof *host, (void **)out, err);
    double begin = now();
    if (status == KVC_OK)
        status = weight ? b->load_weight(b, *out, host, n, err) : b->upload(b, *out, host, n * sizeof *host, err);
    if (status == KVC_OK) status = b->sync(b, err);
    if (seconds) *seconds = now() - begin;
    free(host);
    return status;
}

/* ---- products, and weights ---- */

static kvc_status measure_products(const probe *p, kvc_error *err)
{
    const model_config *c = p->c;
    backend *b = p->b;
    size_t rows = p->device ? PRODUCT_ROWS_DEVICE : PRODUCT_ROWS, values = (size_t)c->ffn * c->hidden;
    float *x = NULL, *w = NULL, *y = NULL;
    double begin = 0, elapsed = 0, load = 0;
    int calls = 0;
    kvc_status status = random_buffer(b, rows * c->hidden, false, &x, NULL, err);
    if (status == KVC_OK) status = random_buffer(b, values, true, &w, &load, err);
    if (status == KVC_OK) status = b->buffer_new(b, rows * c->ffn * sizeof *y, (void **)&y, err);
    while (status == KVC_OK && elapsed < PROBE_SECONDS) {
        status = b->gemm(b, rows, c->ffn, c->hidden, x, w, NULL, 0, y, err);
        if (status == KVC_OK) status = b->sync(b, err);
        if (calls++ == 0) begin = now();
        elapsed = now() - begin;
    }
    p->out->flops = 2.0 * (double)(rows * values) * (calls - 1) / elapsed;
    p->out->load = load / (double)values;
    b->buffer_free(b, x);
    b->buffer_free(b, w);
    b->buffer_free(b, y);
    return status;
}

/* ---- attention, sensitivity weights, moments ---- */

typedef struct heads_sample {
    float *q, *k, *v, *out;       /* backend memory */
    float *metric;                /* [n_heads][d][d] */
    double *weights;              /* [n_heads + 2 n_kv_heads][T] */
    double *sum, *first, *second; /* of moments() */
} heads_sample;

static void heads_free(heads_sample *h, backend *b)
{
    float *buffers[] = {h->q, h->k, h->v, h->out};
    for (size_t i = 0; i < 4; i++) b->buffer_free(b, buffers[i]);
    free(h->metric);
    free(h->weights);
    free(h->sum);
}

static kvc_status heads_new(heads_sample *h, const probe *p, kvc_error *err)
{
    const model_config *c = p->c;
    size_t d = c->head_dim, query = c->n_heads * d, kv = c->n_kv_heads * d, T = p->longest;
    h->metric = calloc(query * d, sizeof *h->metric);
    h->weights = calloc((c->n_heads + 2 * (size_t)c->n_kv_heads) * T, sizeof *h->weights);
    h->sum = calloc(c->n_heads + query + query * d, sizeof *h->sum);
    if (!h->metric || !h->weights || !h->sum) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a measurement");
    for (size_t i = 0; i < query; i++) h->metric[i * d + i % d] = 1;
    h->first = h->sum + c->n_heads;
    h->second = h->first + query;
    KVC_TRY(random_buffer(p->b, T * query, false, &h->q, NULL, err));
    KVC_TRY(random_buffer(p->b, T * kv, false, &h->k, NULL, err));
    KVC_TRY(random_buffer(p->b, T * kv, false, &h->v, NULL, err));
    return p->b->buffer_new(p->b, T * query * sizeof(float), (void **)&h->out, err);
}

static kvc_status run_attention(const probe *p, const heads_sample *h, kvc_error *err)
{
    const model_config *c = p->c;
    const attention_args args = {.n_tokens = (uint32_t)p->longest,
                                 .n_heads = c->n_heads,
                                 .n_kv_heads = c->n_kv_heads,
                                 .head_dim = c->head_dim,
                                 .scale = 1.0f / sqrtf((float)c->head_dim),
                                 .q = h->q,
                                 .k = h->k,
                                 .v = h->v,
                                 .out = h->out};
    return p->b->attention(p->b, &args, err);
}

static kvc_status run_weights(const probe *p, const heads_sample *h, kvc_error *err)
{
    const model_config *c = p->c;
    const sensitivity_args args = {.n_tokens = (uint32_t)p->longest,
                                   .n_heads = c->n_heads,
                                   .n_kv_heads = c->n_kv_heads,
                                   .head_dim = c->head_dim,
                                   .scale = 1.0f / sqrtf((float)c->head_dim),
                                   .policy = *p->tokens,
                                   .q = h->q,
                                   .k = h->k,
                                   .v = h->v,
                                   .output_metric = h->metric,
                                   .query_weight = h->weights,
                                   .key_weight = h->weights + c->n_heads * p->longest,
                                   .value_weight = h->weights + (c->n_heads + c->n_kv_heads) * p->longest};
    return p->b->sensitivity(p->b, &args, err);
}

static kvc_status run_moments(const probe *p, const heads_sample *h, kvc_error *err)
{
    const float *rows[] = {h->q, h->k, h->v};
    for (int i = 0; i < 3; i++)
        KVC_TRY(p->b->moments(p->b, p->longest, i ? p->c->n_kv_heads : p->c->n_heads, p->c->head_dim, rows[i],
                              h->weights, p->longest, h->sum, h->first, h->second, err));
    return KVC_OK;
}

typedef kvc_status heads_run_fn(const probe *p, const heads_sample *h, kvc_error *err);

/* Seconds of the second call. */
static kvc_status time_heads(const probe *p, const heads_sample *h, heads_run_fn *run, double *seconds,
                             kvc_error *err)
{
    KVC_TRY(run(p, h, err));
    KVC_TRY(p->b->sync(p->b, err));
    double begin = now();
    KVC_TRY(run(p, h, err));
    KVC_TRY(p->b->sync(p->b, err));
    *seconds = now() - begin;
    return KVC_OK;
}

static kvc_status measure_heads(const probe *p, bool fitted, kvc_error *err)
{
    heads_sample h = {0};
    double attention = 0, weights = 0, moments = 0, T = (double)p->longest;
    kvc_status status = heads_new(&h, p, err);
    if (status == KVC_OK) status = time_heads(p, &h, run_attention, &attention, err);
    if (status == KVC_OK && fitted) status = time_heads(p, &h, run_weights, &weights, err);
    if (status == KVC_OK && fitted) status = time_heads(p, &h, run_moments, &moments, err);
    p->out->attention = attention / (T * T);
    p->out->weights = weights / (T * T);
    p->out->moments = moments / T;
    heads_free(&h, p->b);
    return status;
}

/* ---- a layer ---- */

static kvc_status run_layer(const probe *p, const sequence_set *text, hidden_states *hidden, double *seconds,
                            kvc_error *err)
{
    model *m = p->subject->model;
    KVC_TRY(model_embed(m, text, hidden, err));
    KVC_TRY(p->b->sync(p->b, err));
    double begin = now();
    KVC_TRY(model_layers(m, p->b, text, hidden, 0, 1, NULL, NULL, "", err));
    KVC_TRY(p->b->sync(p->b, err));
    *seconds = now() - begin;
    return KVC_OK;
}

/* The first one over the beginning of the text, attention apart. On the CPU its weights are converted each time. */
static kvc_status measure_layer(const probe *p, const sequence_set *tokens, kvc_error *err)
{
    size_t T = p->longest, all = sequences_tokens(tokens) / T, first[SAMPLE_SEQUENCES_DEVICE + 1];
    size_t n = !p->device ? 1 : all < SAMPLE_SEQUENCES_DEVICE ? all : SAMPLE_SEQUENCES_DEVICE;
    sequence_set text = {.n = n, .first = first, .ids = tokens->ids};
    hidden_states *hidden;
    double seconds = 0;
    for (size_t i = 0; i <= n; i++) first[i] = i * T;
    KVC_TRY(hidden_new(&hidden, p->b, n * T, p->c->hidden, 0, NULL, err));
    kvc_status status = run_layer(p, &text, hidden, &seconds, err);
    if (status == KVC_OK) status = run_layer(p, &text, hidden, &seconds, err);
    p->out->layer = fmax(0, seconds / (double)(n * T) - p->out->attention * (double)T);
    hidden_free(hidden);
    return status;
}

/* ---- codecs ---- */

/* A side without anything known of it: n rows of noise whose channels fall off, as those of a real side do. */
typedef struct blank_side {
    fit_data data;
    float *rows, *weights;
    double *numbers; /* zeros and units */
} blank_side;

static void blank_free(blank_side *side)
{
    free(side->rows);
    free(side->weights);
    free(side->numbers);
}

static kvc_status blank_new(blank_side *side, const model_config *c, size_t n, kvc_error *err)
{
    size_t H = c->n_kv_heads, d = c->head_dim;
    uint32_t state = 1;
    *side = (blank_side){.rows = malloc((H * n * d + 1) * sizeof *side->rows),
                         .weights = malloc((H * n + 1) * sizeof *side->weights),
                         .numbers = calloc(2 * H * d * (d + 1), sizeof *side->numbers)};
    if (!side->rows || !side->weights || !side->numbers)
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a measurement");
    for (size_t i = 0; i < H * n * d; i++)
        side->rows[i] = noise(&state) * exp2f(-(float)(2 + i / (n * d) % 3) * (float)(i % d) / (float)d);
    for (size_t i = 0; i < H * n; i++) side->weights[i] = 1;
    double *zeros = side->numbers, *units = zeros + H * d, *matrices = units + H * d, *metric = matrices + H * d * d;
    for (size_t i = 0; i < H * d; i++) units[i] = matrices[i * d + i % d] = metric[i * d + i % d] = 1;
    side->data = (fit_data){.n_kv_heads = c->n_kv_heads,
                            .head_dim = c->head_dim,
                            .n_rows = n,
                            .rows = side->rows,
                            .weights = side->weights,
                            .mean = zeros,
                            .cov = matrices,
                            .metric = metric,
                            .absmax = units};
    return KVC_OK;
}

/* All candidates of a side, whose constants go to list [n]; *seconds is added to. */
static kvc_status fit_side(const probe *p, const fit_data *data, size_t table_rows, const kvc_codec *codecs,
                           uint32_t n, fitted *list, double *seconds, kvc_error *err)
{
    fit_options options = settings_fit(p->s);
    fit *f;
    options.b = p->b;
    options.table_rows = table_rows;
    double begin = now();
    KVC_TRY(fit_new(&f, data, &options, err));
    kvc_status status = fit_codecs(f, codecs, n, p->tokens->page, list, err);
    fit_free(f);
    *seconds += now() - begin;
    return status;
}

static kvc_status time_codecs(const probe *p, const kvc_codec *codecs, uint32_t n, const fitted *list, const float *x,
                              float *page, double *seconds, kvc_error *err)
{
    for (int round = 0; round < 2; round++) {
        double begin = now();
        for (uint32_t i = 0; i < n; i++) {
            kvc_coder coder;
            KVC_TRY(kvc_coder_init(&coder, &codecs[i], list[i].params, p->c->n_kv_heads, p->c->head_dim,
                                   p->tokens->page, err));
            KVC_TRY(p->b->transcode(p->b, &coder, p->tokens, p->longest, x, NULL, page, err));
        }
        KVC_TRY(p->b->sync(p->b, err));
        *seconds = (now() - begin) / (double)p->longest;
    }
    return KVC_OK;
}

static kvc_status measure_side(const probe *p, const fit_data *data, const kvc_codec *codecs, uint32_t n,
                               const float *x, float *page, double *coding, kvc_error *err)
{
    size_t share = p->device ? 1 : FIT_SHARE, table_rows = p->s->table_rows / share + 1;
    fitted *list = calloc(n + 1u, sizeof *list);
    double seconds = 0;
    if (!list) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a measurement");
    kvc_status status = fit_side(p, data, table_rows, codecs, n, list, &seconds, err);
    p->out->fits += (double)share * seconds;
    if (status == KVC_OK) status = time_codecs(p, codecs, n, list, x, page, coding, err);
    for (uint32_t i = 0; i < n; i++) free(list[i].params);
    free(list);
    return status;
}

static kvc_status measure_codecs(const probe *p, const codec_space *space, kvc_error *err)
{
    size_t n = p->longest * p->c->n_kv_heads * p->c->head_dim;
    size_t rows = p->s->fit_rows / (p->device ? 1 : FIT_SHARE) + 1;
    backend *b = p->b;
    blank_side side;
    float *x = NULL, *page = NULL;
    kvc_status status = blank_new(&side, p->c, rows, err);
    if (status == KVC_OK) status = random_buffer(b, n, false, &x, NULL, err);
    if (status == KVC_OK) status = b->buffer_new(b, n * sizeof *page, (void **)&page, err);
    if (status == KVC_OK)
        status = measure_side(p, &side.data, space->keys, space->n_keys, x, page, &p->out->keys, err);
    side.data.values = true;
    if (status == KVC_OK)
        status = measure_side(p, &side.data, space->values, space->n_values, x, page, &p->out->values, err);
    b->buffer_free(b, x);
    b->buffer_free(b, page);
    blank_free(&side);
    return status;
}

/* ---- all ---- */

static kvc_status measure_hash(speeds *out, kvc_error *err)
{
    uint8_t hash[32], *bytes = calloc(HASH_BYTES, 1);
    if (!bytes) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a measurement");
    double begin = now();
    sha256_bytes(bytes, HASH_BYTES, hash);
    out->hash = HASH_BYTES / (now() - begin);
    free(bytes);
    return KVC_OK;
}

bool space_is_fitted(const codec_space *space)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < space->n_keys; i++) bytes += space->keys[i].param_bytes;
    for (uint32_t i = 0; i < space->n_values; i++) bytes += space->values[i].param_bytes;
    return bytes > 0;
}

kvc_status speeds_measure(speeds *out, const subject *subject, const settings *s, const sequence_set *tokens,
                          const codec_space *space, kvc_error *err)
{
    const kvc_token_policy policy = settings_tokens(s, NULL);
    backend *b = subject->backend;
    bool device = b->batch_values > 0;
    size_t longest = sequences_longest(tokens), most = device ? SAMPLE_TOKENS_DEVICE : SAMPLE_TOKENS;
    const probe p = {out, subject, s, &policy, b, &subject->model->config, device, longest < most ? longest : most};
    *out = (speeds){0};
    KVC_TRY(measure_products(&p, err));
    KVC_TRY(measure_heads(&p, space && space_is_fitted(space), err));
    KVC_TRY(measure_layer(&p, tokens, err));
    KVC_TRY(measure_hash(out, err));
    return space ? measure_codecs(&p, space, err) : KVC_OK;
}
