/* cfg_write.c - lay out a cfg.bin: header, section table, sections; hashes last. runtime/FORMAT.md.
 *
 * The image is a function of the source alone: no time, no address, no uninitialised byte. Before it is
 * returned the runtime's own reader has validated it, so that a wrong source is refused here with the
 * reader's rule number. */
#include <stdlib.h>
#include <string.h>
#include <openssl/evp.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "cfg_write.h"
#include "kvc/format.h"

typedef struct part {
    uint32_t type, flags;
    const void *bytes;
    uint64_t n_bytes;
} part;

static uint64_t round_up(uint64_t n)
{
    return (n + KVC_FILE_ALIGNMENT - 1) / KVC_FILE_ALIGNMENT * KVC_FILE_ALIGNMENT;
}

/* SHA-256 over type, bytes and content of every required section, in file order. */
static kvc_status hash_decisions(const part *parts, size_t n, uint8_t out[32], kvc_error *err)
{
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    int ok = sha && EVP_DigestInit_ex(sha, EVP_sha256(), NULL);
    for (size_t i = 0; ok && i < n; i++) {
        if (!(parts[i].flags & KVC_SECTION_REQUIRED)) continue;
        ok = EVP_DigestUpdate(sha, &parts[i].type, sizeof parts[i].type) &&
             EVP_DigestUpdate(sha, &parts[i].n_bytes, sizeof parts[i].n_bytes) &&
             EVP_DigestUpdate(sha, parts[i].bytes, (size_t)parts[i].n_bytes);
    }
    ok = ok && EVP_DigestFinal_ex(sha, out, NULL);
    EVP_MD_CTX_free(sha);
    return ok ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "SHA-256 failed");
}

/* The layer table with every group and every size of parameters written out. */
static kvc_status resolve_layers(const cfg_source *source, kvc_layer **out, kvc_error *err)
{
    const kvc_model_info *m = source->model;
    if (m->n_layers == 0) return kvc_fail(err, KVC_INVALID, "a configuration needs layers");
    kvc_layer *layers = malloc(m->n_layers * sizeof *layers);
    if (!layers) return kvc_fail(err, KVC_NO_MEMORY, "no memory for %u layers", m->n_layers);
    for (uint32_t i = 0; i < 2 * m->n_layers; i++) {
        const kvc_codec *from = i % 2 ? &source->layers[i / 2].value : &source->layers[i / 2].key;
        kvc_coder coder;
        kvc_error why;
        kvc_status status = kvc_coder_init(&coder, from, NULL, m->n_kv_heads, m->head_dim, source->tokens.page, &why);
        if (status != KVC_OK) {
            free(layers);
            return kvc_fail(err, status, "layer %u %s: %s", i / 2, i % 2 ? "value" : "key", why.message);
        }
        *(i % 2 ? &layers[i / 2].value : &layers[i / 2].key) = coder.codec;
    }
    *out = layers;
    return KVC_OK;
}

/* The oldest readers that have every codec of the table. */
static uint32_t oldest_reader(const kvc_layer *layers, uint32_t n_layers)
{
    uint32_t version = KVC_FORMAT_FIRST;
    for (uint32_t i = 0; i < 2 * n_layers; i++) {
        uint32_t since = kvc_codec_since(i % 2 ? &layers[i / 2].value : &layers[i / 2].key);
        if (since > version) version = since;
    }
    return version;
}

/* Sections one after another behind the table; then the table's own hash. */
static void fill_image(uint8_t *image, size_t n_bytes, uint32_t reader_min, const part *parts, uint32_t n,
                       const uint8_t identity[32])
{
    kvc_file_header header = {
        .reader_min = reader_min, .writer = KVC_FORMAT_VERSION, .file_bytes = n_bytes, .n_sections = n};
    uint64_t table_end = sizeof header + n * sizeof(kvc_file_section), offset = table_end + sizeof(uint64_t);
    memcpy(header.magic, KVC_FILE_MAGIC, sizeof header.magic);
    memcpy(header.identity, identity, sizeof header.identity);
    memcpy(image, &header, sizeof header);
    for (uint32_t i = 0; i < n; i++) {
        offset = round_up(offset);
        memcpy(image + offset, parts[i].bytes, (size_t)parts[i].n_bytes);
        kvc_file_section entry = {parts[i].type, parts[i].flags, offset, parts[i].n_bytes,
                                  XXH3_64bits(parts[i].bytes, (size_t)parts[i].n_bytes)};
        memcpy(image + sizeof header + i * sizeof entry, &entry, sizeof entry);
        offset += parts[i].n_bytes;
    }
    uint64_t hash = XXH3_64bits(image, (size_t)table_end);
    memcpy(image + table_end, &hash, sizeof hash);
}

static kvc_status assemble(const part *parts, uint32_t n, uint32_t reader_min, void **bytes, size_t *n_bytes,
                           kvc_error *err)
{
    uint8_t identity[32];
    kvc_config *check;
    uint64_t end = sizeof(kvc_file_header) + n * sizeof(kvc_file_section) + sizeof(uint64_t);
    for (uint32_t i = 0; i < n; i++) end = round_up(end) + parts[i].n_bytes;
    KVC_TRY(hash_decisions(parts, n, identity, err));
    uint8_t *image = aligned_alloc(KVC_FILE_ALIGNMENT, round_up(end));
    if (!image) return kvc_fail(err, KVC_NO_MEMORY, "no memory for a cfg.bin of %llu bytes", (unsigned long long)end);
    memset(image, 0, round_up(end));
    fill_image(image, end, reader_min, parts, n, identity);
    kvc_status status = kvc_config_open_memory(&check, image, end, err);
    if (status != KVC_OK) {
        free(image);
        return status;
    }
    kvc_config_close(check);
    *bytes = image;
    *n_bytes = end;
    return KVC_OK;
}

kvc_status cfg_write(const cfg_source *source, void **bytes, size_t *n_bytes, kvc_error *err)
{
    kvc_layer *layers = NULL;
    KVC_TRY(resolve_layers(source, &layers, err));
    kvc_file_tokens tokens = {source->tokens, 0};
    part parts[5] = {
        {KVC_SECTION_model, KVC_SECTION_REQUIRED, source->model, sizeof *source->model},
        {KVC_SECTION_tokens, KVC_SECTION_REQUIRED, &tokens, sizeof tokens},
        {KVC_SECTION_layers, KVC_SECTION_REQUIRED, layers, source->model->n_layers * sizeof *layers},
    };
    uint32_t n = 3;
    if (source->params)
        parts[n++] = (part){KVC_SECTION_parameters, KVC_SECTION_REQUIRED, source->params, source->params_bytes};
    if (source->provenance)
        parts[n++] = (part){KVC_SECTION_provenance, 0, source->provenance, strlen(source->provenance)};
    kvc_status status = assemble(parts, n, oldest_reader(layers, source->model->n_layers), bytes, n_bytes, err);
    free(layers);
    return status;
}

kvc_status cfg_identity(const void *bytes, size_t n_bytes, uint8_t out[32], kvc_error *err)
{
    kvc_config *cfg;
    kvc_file_header header;
    part parts[KVC_MAX_SECTIONS];
    KVC_TRY(kvc_config_open_memory(&cfg, bytes, n_bytes, err)); /* bounds and table are sound from here on */
    kvc_config_close(cfg);
    memcpy(&header, bytes, sizeof header);
    for (uint32_t i = 0; i < header.n_sections; i++) {
        kvc_file_section entry;
        memcpy(&entry, (const uint8_t *)bytes + sizeof header + i * sizeof entry, sizeof entry);
        parts[i] = (part){entry.type, entry.flags, (const uint8_t *)bytes + entry.offset, entry.bytes};
    }
    return hash_decisions(parts, header.n_sections, out, err);
}
