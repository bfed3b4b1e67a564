/* fuzz_cfg.c - cfg.bin from anybody: refused, or an open configuration whose every accessor and a small cache work.
 *
 * Each input is tried as it is, and again with its hashes made right, since no mutation would get past them. */
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

/* One token more than fits the window, so that a page is made and read. */
static void use_cache(const kvc_config *cfg)
{
    const kvc_model_info *m = kvc_config_model(cfg);
    const kvc_token_policy *p = kvc_config_tokens(cfg);
    uint32_t sequence = 0, n = p->sinks + p->window + p->page, one = 1;
    size_t row = (size_t)m->n_kv_heads * m->head_dim, query = (size_t)m->n_query_heads * m->head_dim;
    if ((uint64_t)n * row * m->n_layers > 1u << 18 || query > 1u << 16) return;
    kvc_cache_options options = {.size = sizeof options, .max_sequences = 1, .max_tokens = p->page};
    kvc_cache *cache;
    if (kvc_cache_create(&cache, cfg, &options, NULL) != KVC_OK) abort();
    float *rows = calloc(n * row + query, sizeof *rows), *out = calloc(query, sizeof *out);
    void *work = aligned_alloc(64, (kvc_cache_attend_work(cache) + 63) / 64 * 64);
    for (size_t i = 0; i < n * row; i++) rows[i] = (float)(i % 17) - 8.0f;
    for (uint32_t layer = 0; layer < m->n_layers; layer++) {
        kvc_batch all = {1, &sequence, &n}, last = {1, &sequence, &one};
        if (kvc_cache_append(cache, layer, &all, rows, rows, KVC_F32, NULL) != KVC_OK) abort();
        if (kvc_cache_attend(cache, layer, &last, rows, KVC_F32, out, work, NULL, NULL) != KVC_OK) abort();
    }
    free(rows);
    free(out);
    free(work);
    kvc_cache_destroy(cache);
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
