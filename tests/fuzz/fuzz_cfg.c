/* fuzz_cfg.c - cfg.bin from anybody: refused, or an open configuration whose every accessor and a small cache work.
 *
 * Each input is tried as it is, and again with its hashes made right, since no mutation would get past them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "cfg_write.h"
#include "kvc/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Right hashes wherever sections lie inside the image. */
static void repair(uint8_t *image, size_t size)
{
    kvc_file_header header;
    if (size < sizeof header) return;
    memcpy(&header, image, sizeof header);
    header.file_bytes = size;
    memcpy(image, &header, sizeof header);
    uint64_t table_end = sizeof header + (uint64_t)header.n_sections * sizeof(kvc_file_section);
    if (header.n_sections > KVC_MAX_SECTIONS || table_end + 8 > size) return;
    for (uint32_t i = 0; i < header.n_sections; i++) {
        kvc_file_section entry;
        uint8_t *at = image + sizeof header + i * sizeof entry;
        memcpy(&entry, at, sizeof entry);
        if (entry.offset > size || entry.bytes > size - entry.offset) continue;
        entry.xxh3 = XXH3_64bits(image + entry.offset, (size_t)entry.bytes);
        memcpy(at, &entry, sizeof entry);
    }
    uint64_t hash = XXH3_64bits(image, (size_t)table_end);
    memcpy(image + table_end, &hash, sizeof hash);
}

typedef struct user {
    kvc_cache *cache;
    uint32_t n_layers, n_tokens; /* of all layers; of `rows` */
    size_t query;                /* values of one token's queries */
    float *rows, *out;
    void *work;
} user;

static void append(const user *u, uint32_t sequence)
{
    kvc_batch all = {1, &sequence, &u->n_tokens};
    for (uint32_t layer = 0; layer < u->n_layers; layer++)
        if (kvc_cache_append(u->cache, layer, &all, u->rows, u->rows, KVC_F32, NULL) != KVC_OK) abort();
}

/* Finite rows and queries give finite outputs. */
static void attend(const user *u, uint32_t sequence)
{
    uint32_t one = 1;
    kvc_batch last = {1, &sequence, &one};
    for (uint32_t layer = 0; layer < u->n_layers; layer++) {
        if (kvc_cache_attend(u->cache, layer, &last, u->rows, KVC_F32, u->out, u->work, NULL, NULL) != KVC_OK)
            abort();
        for (size_t i = 0; i < u->query; i++)
            if (!isfinite(u->out[i])) abort();
    }
}

/* One token more than fits the window, so that a page is made and read; then the page is cut, so that its rows return
 * to the window, copied, and made again. */
static void use_cache(const kvc_config *cfg)
{
    const kvc_model_info *m = kvc_config_model(cfg);
    const kvc_token_policy *p = kvc_config_tokens(cfg);
    size_t row = (size_t)m->n_kv_heads * m->head_dim;
    user u = {.n_layers = m->n_layers,
              .n_tokens = p->sinks + p->window + p->page,
              .query = (size_t)m->n_query_heads * m->head_dim};
    if ((uint64_t)u.n_tokens * row * m->n_layers > 1u << 18 || u.query > 1u << 16) return;
    kvc_cache_options options = {.size = sizeof options, .max_sequences = 2, .max_tokens = 2 * u.n_tokens};
    if (kvc_cache_create(&u.cache, cfg, &options, NULL) != KVC_OK) abort();
    u.rows = calloc(u.n_tokens * row + u.query, sizeof *u.rows);
    u.out = calloc(u.query, sizeof *u.out);
    u.work = aligned_alloc(64, (kvc_cache_attend_work(u.cache) + 63) / 64 * 64);
    for (size_t i = 0; i < u.n_tokens * row; i++) u.rows[i] = (float)(i % 17) - 8.0f;
    append(&u, 0);
    attend(&u, 0);
    if (kvc_cache_truncate(u.cache, 0, p->sinks + p->page / 2, NULL) != KVC_OK) abort();
    if (kvc_cache_fork(u.cache, 0, 1, NULL) != KVC_OK) abort();
    attend(&u, 1);
    append(&u, 0);
    attend(&u, 0);
    free(u.rows);
    free(u.out);
    free(u.work);
    kvc_cache_destroy(u.cache);
}

/* The spec of a valid descriptor reads as that descriptor. */
static void check_spec(const kvc_codec *codec)
{
    char text[KVC_SPEC_MAX];
    kvc_codec parsed;
    kvc_codec_format(codec, text);
    if (kvc_codec_parse(&parsed, text, NULL) != KVC_OK) abort();
    if (memcmp(&parsed, codec, offsetof(kvc_codec, param_offset)) != 0) abort();
    if (memcmp(parsed.segment, codec->segment, sizeof parsed.segment) != 0) abort();
}

static void use_config(const kvc_config *cfg)
{
    size_t n, sum = 0;
    const uint8_t *parameters = kvc_config_parameters(cfg, &n);
    for (size_t i = 0; i < n; i++) sum += parameters[i];
    const char *provenance = kvc_config_provenance(cfg, &n);
    for (size_t i = 0; i < n; i++) sum += (size_t)provenance[i];
    for (uint32_t i = 0; i < kvc_config_sections(cfg); i++) sum += kvc_config_section(cfg, i).bytes;
    for (uint32_t i = 0; i < kvc_config_model(cfg)->n_layers; i++) {
        check_spec(&kvc_config_layer(cfg, i)->key);
        check_spec(&kvc_config_layer(cfg, i)->value);
    }
    if (sum == 0 || kvc_config_bits_per_value(cfg, 8192) <= 0.0) abort();
    use_cache(cfg);
}

static void try_image(const uint8_t *image, size_t size)
{
    kvc_config *cfg;
    kvc_error err = {""};
    uint8_t id[32];
    if (kvc_config_open_memory(&cfg, image, size, &err) != KVC_OK) {
        if (strncmp(err.message, "[F-", 3) != 0) abort(); /* each refusal names its rule */
        return;
    }
    use_config(cfg);
    if (cfg_identity(image, size, id, NULL) != KVC_OK) abort();
    kvc_config_close(cfg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = calloc(1, size + 1);
    if (size) memcpy(copy, data, size);
    try_image(copy, size);
    repair(copy, size);
    try_image(copy, size);
    free(copy);
    return 0;
}
