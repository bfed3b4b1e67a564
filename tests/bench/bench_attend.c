/* bench_attend.c - decode attention of libkvc on one CPU core, beside the memory's streaming read in the same run.
 *
 *     bench_attend [repeats [codec]]
 *
 * Pairs of codecs whose keys' spec starts with `codec`, or all.
 * One layer, one sequence, one query token; random rows; the call repeated, and ("cold") after 64 MiB of other
 * memory, as the other layers of a model are. "read" counts every byte of pages, sinks and window that the call has
 * to look at. Medians of thread CPU time. The last line is the time to map, validate and close a cfg.bin of 32
 * layers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cfg_write.h"
#include "stream_read.h"

typedef struct shape {
    uint32_t n_query_heads, n_kv_heads, head_dim;
} shape;

static void die(const char *what, const kvc_error *err)
{
    fprintf(stderr, "bench_attend: %s: %s\n", what, err->message);
    exit(1);
}

/* xorshift: the figures must not depend on anything but the machine. */
static float uniform(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (float)(*state >> 40) * 0x1p-23f - 1.0f;
}

/* Bytes per second of a plain read. */
static double read_rate(int repeats)
{
    stream_memory memory;
    double *times = malloc((size_t)repeats * sizeof *times);
    if (!stream_open(&memory) || !times) exit(1);
    double rate = stream_rate(&memory, times, (size_t)repeats);
    stream_close(&memory);
    free(times);
    return rate;
}

/* Constants that are valid and cost what fitted ones do: bases of ones on the diagonal, tables of random numbers. */
static void fill_basis(uint32_t heads, uint32_t d, uint8_t *part)
{
    for (uint32_t head = 0; head < heads; head++, part += 4 * d + 6 * d * d) {
        float *forward = (float *)part + d;
        uint16_t *backward = (uint16_t *)(forward + d * d);
        for (uint32_t i = 0; i < d; i++) forward[i * d + i] = 1.0f, backward[i * d + i] = kvc_fp16_from_float(1.0f);
    }
}

/* How many codes a row has, and how many of its channels have one. */
static void count_codes(const kvc_coder *coder, uint32_t *n_codes, uint32_t *kept)
{
    uint32_t dims = coder->codec.dims, d = coder->head_dim;
    *n_codes = dims ? d / dims : 0;
    *kept = dims ? d : 0;
    for (uint32_t k = 0; dims == 0 && k < 5; k++) {
        uint32_t n = coder->codec.segment[k] * d / 64;
        *n_codes += n;
        *kept += n << k;
    }
}

/* Codes that are shared out: by turns half as many again as the mean, and half as many. */
static uint8_t *fill_counts(const kvc_coder *coder, uint32_t n_codes, uint8_t *part)
{
    uint32_t *counts = (uint32_t *)part, heads = coder->n_kv_heads;
    for (uint32_t i = 0; i < heads; i++) counts[i] = i + 1 == heads && i % 2 == 0 ? n_codes : n_codes / 2;
    for (uint32_t i = 0; i + 1 < heads; i += 2) counts[i] = 2 * n_codes - counts[i + 1];
    return part + heads * sizeof *counts;
}

static void fill_tables(const kvc_coder *coder, uint8_t *part)
{
    uint32_t n_codes, kept, heads = coder->n_kv_heads;
    const uint8_t *start = part;
    count_codes(coder, &n_codes, &kept);
    if (n_codes == 0) { /* shared */
        n_codes = coder->codec.segment[5] * coder->head_dim / 64;
        kept = coder->head_dim;
        part = fill_counts(coder, n_codes, part);
    }
    float *scales = (float *)part;
    uint16_t *order = (uint16_t *)(scales + heads * n_codes), *table = order + (heads * kept + 1) / 2 * 2;
    uint16_t *end = (uint16_t *)(start + kvc_coder_part_bytes(coder, 4));
    uint64_t state = 521288629;
    for (uint32_t i = 0; i < heads * n_codes; i++) scales[i] = 1.0f;
    for (uint32_t i = 0; i < heads * kept; i++) order[i] = (uint16_t)(i % kept);
    while (table < end) *table++ = kvc_fp16_from_float(uniform(&state));
}

/* Keys and values of one layer: the blocks of both, the values' behind the keys'. NULL where neither has any. */
static void *make_params(shape s, kvc_layer *layer, size_t *n_bytes)
{
    kvc_coder coder[2];
    kvc_error err;
    for (int i = 0; i < 2; i++)
        if (kvc_coder_init(&coder[i], i ? &layer->value : &layer->key, NULL, s.n_kv_heads, s.head_dim, 64, &err))
            die("codec", &err);
    size_t first = (coder[0].codec.param_bytes + 63u) / 64u * 64u;
    *n_bytes = first + coder[1].codec.param_bytes;
    if (*n_bytes == 0) return NULL;
    uint8_t *params = calloc(1, *n_bytes);
    if (!params) exit(1);
    for (int i = 0; i < 2; i++) {
        uint8_t *at = params + (i ? first : 0);
        if (kvc_coder_part_bytes(&coder[i], 0)) fill_basis(coder[i].n_kv_heads, coder[i].head_dim, at);
        if (kvc_coder_part_bytes(&coder[i], 4)) fill_tables(&coder[i], at + kvc_coder_part_offset(&coder[i], 4));
    }
    layer->value.param_offset = coder[1].codec.param_bytes ? (uint32_t)first : 0;
    return params;
}

static void make_config(shape s, uint32_t n_layers, const char *key, const char *value, void **bytes, size_t *n_bytes)
{
    kvc_model_info m = {
        .name = "bench", .architecture = "llama", .n_layers = n_layers, .hidden_size = 1, .vocab_size = 1};
    kvc_layer layers[32];
    kvc_error err;
    m.n_query_heads = s.n_query_heads;
    m.n_kv_heads = s.n_kv_heads;
    m.head_dim = s.head_dim;
    for (uint32_t i = 0; i < n_layers; i++)
        if (kvc_codec_parse(&layers[i].key, key, &err) != KVC_OK ||
            kvc_codec_parse(&layers[i].value, value, &err) != KVC_OK)
            die(key, &err);
    cfg_source source = {.model = &m, .tokens = {4, 64, 64}, .layers = layers};
    void *params = n_layers == 1 ? make_params(s, &layers[0], &source.params_bytes) : NULL;
    source.params = params;
    if (cfg_write(&source, bytes, n_bytes, &err) != KVC_OK) die("cfg_write", &err);
    free(params);
}

static void fill(kvc_cache *cache, shape s, uint32_t n_tokens)
{
    size_t n = (size_t)s.n_kv_heads * s.head_dim;
    float *rows = malloc(n * sizeof *rows);
    uint64_t state = 88172645463325252u;
    kvc_error err;
    if (!rows) exit(1);
    for (uint32_t t = 0; t < n_tokens; t++) {
        for (size_t i = 0; i < n; i++) rows[i] = uniform(&state);
        kvc_batch one = {1, &(uint32_t){0}, &(uint32_t){1}};
        if (kvc_cache_append(cache, 0, &one, rows, rows, KVC_F32, &err) != KVC_OK) die("append", &err);
    }
    free(rows);
}

/* What a model's other layers do to the processor's caches between two calls for the same one. */
static void evict(void)
{
    static uint64_t buffer[(64u << 20) / sizeof(uint64_t)], sum;
    for (size_t i = 0; i < sizeof buffer / sizeof *buffer; i += 8) sum += buffer[i]++;
}

static double time_attend(const kvc_cache *cache, shape s, int cold, int repeats)
{
    size_t n = (size_t)s.n_query_heads * s.head_dim;
    float *q = malloc(2 * n * sizeof *q), *out = q + n;
    double *times = malloc((size_t)repeats * sizeof *times);
    void *work = aligned_alloc(64, (kvc_cache_attend_work(cache) + 63) / 64 * 64);
    uint64_t state = 362436069;
    kvc_error err;
    if (!q || !times || !work) exit(1);
    for (size_t i = 0; i < n; i++) q[i] = uniform(&state);
    kvc_batch one = {1, &(uint32_t){0}, &(uint32_t){1}};
    for (int i = 0; i < repeats; i++) {
        if (cold) evict();
        double start = thread_seconds();
        if (kvc_cache_attend(cache, 0, &one, q, KVC_F32, out, work, NULL, &err) != KVC_OK) die("attend", &err);
        times[i] = thread_seconds() - start;
    }
    double seconds = median_of(times, (size_t)repeats);
    free(q);
    free(times);
    free(work);
    return seconds;
}

static void bench_pair(shape s, const char *key, const char *value, uint32_t n_tokens, double stream, int repeats)
{
    void *bytes;
    size_t n_bytes;
    kvc_config *cfg;
    kvc_cache *cache;
    kvc_error err;
    make_config(s, 1, key, value, &bytes, &n_bytes);
    if (kvc_config_open_memory(&cfg, bytes, n_bytes, &err) != KVC_OK) die("open", &err);
    kvc_cache_options options = {.size = sizeof options, .max_sequences = 1, .max_tokens = n_tokens};
    if (kvc_cache_create(&cache, cfg, &options, &err) != KVC_OK) die("create", &err);
    fill(cache, s, n_tokens);
    double seconds = time_attend(cache, s, 0, repeats), cold = time_attend(cache, s, 1, repeats);
    double read = (double)kvc_config_bytes(cfg, n_tokens),
           multiply_adds = 2.0 * n_tokens * s.n_query_heads * s.head_dim;
    printf("%-24s %-24s %7u  %8.2f MB  %9.1f us  %6.2f GB/s  %5.1f %%  %6.2f GMAC/s  cold %9.1f us\n", key, value,
           n_tokens, read * 1e-6, seconds * 1e6, read / seconds * 1e-9, 100.0 * read / seconds / stream,
           multiply_adds / seconds * 1e-9, cold * 1e6);
    kvc_cache_destroy(cache);
    kvc_config_close(cfg);
    free(bytes);
}

static void bench_open(void)
{
    char path[] = "/tmp/bench_attend_XXXXXX";
    void *bytes;
    size_t n_bytes;
    kvc_error err;
    enum { N = 2001 };
    static double times[N];
    make_config((shape){32, 8, 128}, 32, "int4.ch64", "int4.tok64+had", &bytes, &n_bytes);
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, bytes, n_bytes) != (ssize_t)n_bytes) exit(1);
    for (int i = 0; i < N; i++) {
        kvc_config *cfg;
        double start = thread_seconds();
        if (kvc_config_open(&cfg, path, &err) != KVC_OK) die("open", &err);
        kvc_config_close(cfg);
        times[i] = thread_seconds() - start;
    }
    printf("open + validate + close: %.1f us for %zu bytes, 32 layers\n", 1e6 * median_of(times, N), n_bytes);
    close(fd);
    unlink(path);
    free(bytes);
}

int main(int argc, char **argv)
{
    static const shape shapes[] = {{32, 8, 128}, {9, 3, 64}};
    static const char *const pairs[][2] = {{"fp16", "fp16"},
                                           {"int8.ch64", "int8.tok"},
                                           {"int4.ch64", "int4.tok64"},
                                           {"int4.ch64", "int4.tok64+had"},
                                           {"int2.ch32", "int2.tok32"},
                                           {"int3.ch64", "int3.tok64"},
                                           {"vq[8]x8+klt", "vq[8]x8+klt"},
                                           {"vq[16]x8+klt", "vq[16]x8+klt"},
                                           {"vq[24]x8+klt", "vq[24]x8+klt"},
                                           {"vq2x8+klt", "vq2x8+klt"},
                                           {"vq4x8+klt", "vq4x8+klt"},
                                           {"vq8x8+klt", "vq8x8+klt"},
                                           {"vq4x6+klt", "vq4x6+klt"},
                                           {"vq[4*8,2*16]x8+klt", "vq[4*8,2*16]x8+klt"},
                                           {"vq[8*2,12*4]x8+klt", "vq[8*2,12*4]x8+klt"},
                                           {"int4.ch64@joint", "int4.tok64@joint"},
                                           {"vq8x8+klt@joint", "vq8x8+klt@joint"},
                                           {"vq4x8+klt@joint", "vq4x8+klt@joint"},
                                           {"vq[4*8,2*16]x8+klt@joint", "vq[4*8,2*16]x8+klt@joint"},
                                           {"vq[2*16]x8+klt@joint", "vq[2*16]x8+klt@joint"},
                                           {"vq[8*2,12*4]x8+klt@joint", "vq[8*2,12*4]x8+klt@joint"}};
    static const uint32_t lengths[] = {4096, 32768};
    int repeats = argc > 1 ? atoi(argv[1]) : 11;
    const char *only = argc > 2 ? argv[2] : "";
    if (repeats < 1) repeats = 1;
    double stream = read_rate(repeats);
    printf("streaming read: %.2f GB/s\n", stream * 1e-9);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        printf("%u query heads, %u KV heads, head dimension %u\n", shapes[i].n_query_heads, shapes[i].n_kv_heads,
               shapes[i].head_dim);
        for (size_t j = 0; j < sizeof pairs / sizeof *pairs; j++)
            for (size_t k = 0; k < sizeof lengths / sizeof *lengths && strncmp(pairs[j][0], only, strlen(only)) == 0;
                 k++)
                bench_pair(shapes[i], pairs[j][0], pairs[j][1], lengths[k], stream, repeats);
    }
    bench_open();
    return 0;
}
