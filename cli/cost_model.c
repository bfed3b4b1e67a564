/* cost_model.c - see cost_model.h. */
#include "cost_model.h"
#include "fit.h"
#include "kvc/codec_list.h"
#include <math.h>
#include <stdlib.h>
#include <time.h>

enum { PROBE_ROWS = 512 };
#define PROBE_SECONDS 0.2

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* weight: for gemm() to multiply with. */
static kvc_status random_buffer(backend *b, size_t n, bool weight, float **out, kvc_error *err)
{
    float *host = malloc(n * sizeof *host);
    uint32_t state = 1;
    if (!host) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a measurement");
    for (size_t i = 0; i < n; i++) host[i] = (float)((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-24f - 0.5f;
    kvc_status status = b->buffer_new(b, n * sizeof *host, (void **)out, err);
    if (status == KVC_OK)
        status = weight ? b->load_weight(b, *out, host, n, err) : b->upload(b, *out, host, n * sizeof *host, err);
    if (status == KVC_OK) status = b->sync(b, err);
    free(host);
    return status;
}

/* Operations per second of the layer's largest product; the first call, which wakes threads, is not counted. */
static kvc_status measure_gemm(double *flops, const subject *subject, kvc_error *err)
{
    const model_config *c = &subject->model->config;
    backend *b = subject->backend;
    float *x = NULL, *w = NULL, *y = NULL;
    double begin = 0, elapsed = 0;
    int calls = 0;
    kvc_status status = random_buffer(b, (size_t)PROBE_ROWS * c->hidden, false, &x, err);
    if (status == KVC_OK) status = random_buffer(b, (size_t)c->ffn * c->hidden, true, &w, err);
    if (status == KVC_OK) status = random_buffer(b, (size_t)PROBE_ROWS * c->ffn, false, &y, err);
    while (status == KVC_OK && elapsed < PROBE_SECONDS) {
        status = b->gemm(b, PROBE_ROWS, c->ffn, c->hidden, x, w, NULL, 0, y, err);
        if (status == KVC_OK) status = b->sync(b, err);
        if (calls++ == 0) begin = now();
        elapsed = now() - begin;
    }
    *flops = 2.0 * PROBE_ROWS * c->ffn * c->hidden * (calls - 1) / elapsed;
    b->buffer_free(b, x);
    b->buffer_free(b, w);
    b->buffer_free(b, y);
    return status;
}

/* Constants that a codec gets from no data at all: encoding takes as long with them. NULL where it has none. */
static kvc_status blank_params(void **params, backend *b, const kvc_codec *codec, const model_config *c,
                               uint32_t page, kvc_error *err)
{
    size_t n, dd = (size_t)c->n_kv_heads * c->head_dim * c->head_dim;
    double *zeros = calloc(dd, sizeof *zeros);
    fit_data nothing = {.n_kv_heads = c->n_kv_heads,
                        .head_dim = c->head_dim,
                        .mean = zeros,
                        .cov = zeros,
                        .metric = zeros,
                        .absmax = zeros};
    fit_options options = fit_defaults;
    fit *f = NULL;
    *params = NULL;
    options.b = b;
    kvc_status status = zeros ? fit_new(&f, &nothing, &options, err)
                              : kvc_fail(err, KVC_NO_MEMORY, "out of memory for a measurement");
    if (status == KVC_OK) status = fit_codec(f, codec, page, params, &n, err);
    fit_free(f);
    free(zeros);
    return status;
}

static kvc_status time_codecs(double *seconds, const subject *subject, const kvc_token_policy *tokens,
                              const kvc_codec *codecs, uint32_t n, size_t n_tokens, const float *x, float *exact,
                              float *page, kvc_error *err)
{
    const model_config *c = &subject->model->config;
    backend *b = subject->backend;
    *seconds = 0;
    for (uint32_t i = 0; i < n; i++) {
        kvc_coder coder;
        void *params;
        KVC_TRY(blank_params(&params, b, &codecs[i], c, tokens->page, err));
        kvc_status status = kvc_coder_init(&coder, &codecs[i], params, c->n_kv_heads, c->head_dim, tokens->page, err);
        double begin = now();
        if (status == KVC_OK) status = b->transcode(b, &coder, tokens, n_tokens, x, exact, page, err);
        if (status == KVC_OK) status = b->sync(b, err);
        *seconds += (now() - begin) / (double)n_tokens;
        free(params);
        KVC_TRY(status);
    }
    return KVC_OK;
}

static kvc_status measure_codecs(speeds *out, const subject *subject, const kvc_token_policy *tokens,
                                 const codec_space *space, kvc_error *err)
{
    const model_config *c = &subject->model->config;
    backend *b = subject->backend;
    size_t n_tokens = tokens->sinks + tokens->window + 8 * (size_t)tokens->page,
           n = n_tokens * c->n_kv_heads * c->head_dim;
    float *x = NULL, *exact = NULL, *page = NULL;
    kvc_status status = random_buffer(b, n, false, &x, err);
    if (status == KVC_OK) status = random_buffer(b, n, false, &exact, err);
    if (status == KVC_OK) status = random_buffer(b, n, false, &page, err);
    if (status == KVC_OK)
        status = time_codecs(&out->keys, subject, tokens, space->keys, space->n_keys, n_tokens, x, exact, page, err);
    if (status == KVC_OK)
        status =
            time_codecs(&out->values, subject, tokens, space->values, space->n_values, n_tokens, x, exact, page, err);
    b->buffer_free(b, x);
    b->buffer_free(b, exact);
    b->buffer_free(b, page);
    return status;
}

kvc_status speeds_measure(speeds *out, const subject *subject, const kvc_token_policy *tokens,
                          const codec_space *space, kvc_error *err)
{
    *out = (speeds){0};
    KVC_TRY(measure_gemm(&out->flops, subject, err));
    return space ? measure_codecs(out, subject, tokens, space, err) : KVC_OK;
}

/* Products of a layer per token, attention aside. */
static double layer_flops(const model_config *c)
{
    double query = (double)c->n_heads * c->head_dim, kv = (double)c->n_kv_heads * c->head_dim;
    return 2 * c->hidden * (2 * query + 2 * kv) + 6.0 * c->hidden * c->ffn;
}

double seconds_forward(const speeds *s, const model_config *c, const sequence_set *tokens, size_t n_sequences)
{
    double flops = 0;
    for (size_t i = 0; i < n_sequences; i++) {
        double n = (double)(tokens->first[i + 1] - tokens->first[i]);
        flops += n * layer_flops(c) + 2 * n * n * c->n_heads * c->head_dim; /* the causal half of two products */
    }
    return c->n_layers * flops / s->flops;
}

double seconds_logits(const speeds *s, const model_config *c, size_t n_tokens, int models)
{
    return 2.0 * (double)n_tokens * c->hidden * c->vocab * models / s->flops;
}

/* Per probed row and head K + 1 products over the tokens before it and V / 2 for each key that is paired
 * (calib/score), each delta through W_o, and every candidate's codec over all tokens. */
double seconds_probe(const speeds *s, const model_config *c, const sequence_set *tokens, const codec_space *space,
                     uint64_t probe_rows, size_t n_probed)
{
    double share = (double)n_probed / (double)tokens->n;
    double flops = 0, query = (double)c->n_heads * c->head_dim, K = space->n_keys, V = space->n_values, paired = 1;
    for (uint32_t i = 0; i < space->n_keys; i++) paired += space->keys[i].param_bytes == 0;
    for (size_t i = 0; i < tokens->n; i++) {
        double n = (double)(tokens->first[i + 1] - tokens->first[i]),
               rows = probe_rows ? fmin((double)probe_rows, n) : n;
        flops += 2 * rows * n * query * (K + 1 + paired * V / 2) + 2 * rows * query * c->hidden * (K + V + 1);
    }
    double codecs = (s->keys + s->values) * (double)sequences_tokens(tokens);
    return c->n_layers * share * (flops / s->flops + codecs);
}

/* How many tables a side has for each length of its codes. */
static double tables_of(const kvc_codec *codec, const model_config *c)
{
    if (codec->scale == KVC_SCALE_HEAD) return c->n_kv_heads;
    if (codec->scale == KVC_SCALE_STATIC) return (double)c->n_kv_heads * c->head_dim / codec->dims;
    return 1;
}

/* Values of the sub-vectors that the tables of a codec are fitted to; `values` are those of all sampled rows. */
static double table_values(const settings *s, const model_config *c, const kvc_codec *codec, double values)
{
    double sum = 0, rows = (double)s->table_rows, shared = codec->segment[5];
    if (codec->symbol != KVC_SYMBOL_vq && codec->symbol != KVC_SYMBOL_lut) return 0;
    if (codec->dims) return fmin(values / codec->dims, rows * tables_of(codec, c)) * codec->dims;
    if (shared > 0) /* codes of every 64 channels in the mean, nearly all of two lengths */
        return fmin(values / 64 * shared, 2 * rows) * 64 / shared;
    for (uint32_t k = 0; k < 5; k++) /* a mix: codes of 1, 2, 4, 8 and 16 in every 64 channels */
        sum += fmin(values / 64 * codec->segment[k], rows) * (1u << k);
    return sum;
}

/* Passes of k-means over all sub-vectors of a table. Two trials on a quarter of them begin with as much as a pass,
 * make half of the iterations, and leave the other half; restarts beside the first are from nothing
 * (calib/fit/table_run.c).
 */
static double table_passes(const settings *s)
{
    double all = (double)s->iterations, half = (double)((s->iterations + 1) / 2), trials = 0.5 * (1 + half);
    return trials + (s->restarts > 1 ? all + (double)(s->restarts - 1) * (1 + all) : half);
}

/* Sums of k-means for the fitted of n codecs: distances of every sub-vector to every entry, in every pass. */
static double table_flops(const settings *s, const model_config *c, const kvc_codec *codecs, uint32_t n)
{
    double flops = 0, values = (double)s->fit_rows * c->n_kv_heads * c->head_dim;
    for (uint32_t i = 0; i < n; i++)
        flops += 2 * table_values(s, c, &codecs[i], values) * ldexp(1, codecs[i].bits) * table_passes(s);
    return flops;
}

double seconds_fit(const speeds *speeds, const settings *s, const model_config *c, const sequence_set *tokens,
                   const codec_space *space)
{
    double tables = table_flops(s, c, space->keys, space->n_keys) + table_flops(s, c, space->values, space->n_values);
    double weights = 0;
    if (tables == 0) return 0;
    for (size_t i = 0; i < tokens->n; i++) {
        double n = (double)(tokens->first[i + 1] - tokens->first[i]);
        weights += 4 * n * n * c->n_heads * c->head_dim; /* the causal half of four products */
    }
    return c->n_layers * (weights + tables) / speeds->flops;
}
