/* check.c - may this image be used? Every byte of it is either hashed, or padding that has to be zero, and
 * every field is judged against FORMAT.md, whose rule numbers start the messages. Nothing is read before its
 * bounds are known.
 *
 * Order matters: sizes, then hashes (an accident), then meaning (a hostile or wrong writer). */
#include <math.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "codec/pieces.h"
#include "config.h"

static uint64_t round_up(uint64_t n)
{
    return (n + KVC_FILE_ALIGNMENT - 1) / KVC_FILE_ALIGNMENT * KVC_FILE_ALIGNMENT;
}

static bool all_zero(const uint8_t *bytes, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (bytes[i]) return false;
    return true;
}

/* ---- header and section table ---- */

static kvc_status check_header(kvc_config *cfg, kvc_error *err)
{
    const kvc_file_header *h = cfg->header = (const kvc_file_header *)cfg->image;
    size_t magic_bytes = cfg->n_bytes < sizeof h->magic ? cfg->n_bytes : sizeof h->magic;
    if (magic_bytes == 0 || memcmp(cfg->image, KVC_FILE_MAGIC, magic_bytes) != 0)
        return kvc_fail(err, KVC_FORMAT, "[F-01] not a cfg.bin: the file does not start with its magic bytes");
    if (cfg->n_bytes < sizeof *h)
        return kvc_fail(err, KVC_FORMAT, "[F-02] truncated: %zu bytes, the header has %zu", cfg->n_bytes, sizeof *h);
    if (h->reader_min > KVC_FORMAT_VERSION)
        return kvc_fail(err, KVC_UNSUPPORTED, "[F-03] made for readers of format %u.%u, this one knows %u.%u",
                        h->reader_min / 1000, h->reader_min % 1000, KVC_FORMAT_VERSION / 1000,
                        KVC_FORMAT_VERSION % 1000);
    if (h->reader_min < 1000 || h->writer < h->reader_min)
        return kvc_fail(err, KVC_FORMAT, "[F-04] reader version %u, writer version %u", h->reader_min, h->writer);
    if (h->file_bytes != cfg->n_bytes)
        return kvc_fail(err, KVC_FORMAT, "[F-05] the file has %zu bytes, its header says %llu", cfg->n_bytes,
                        (unsigned long long)h->file_bytes);
    if (h->n_sections == 0 || h->n_sections > KVC_MAX_SECTIONS)
        return kvc_fail(err, KVC_FORMAT, "[F-06] %u sections, 1 to %u expected", h->n_sections, KVC_MAX_SECTIONS);
    if (h->reserved) return kvc_fail(err, KVC_FORMAT, "[F-07] a reserved field of the header is not zero");
    return KVC_OK;
}

static kvc_status check_table_hash(kvc_config *cfg, uint64_t *table_end, kvc_error *err)
{
    uint64_t stored, hashed = sizeof *cfg->header + cfg->header->n_sections * sizeof *cfg->sections;
    *table_end = hashed + sizeof stored;
    if (*table_end > cfg->n_bytes)
        return kvc_fail(err, KVC_FORMAT, "[F-02] truncated: %zu bytes, the section table ends at %llu", cfg->n_bytes,
                        (unsigned long long)*table_end);
    memcpy(&stored, cfg->image + hashed, sizeof stored);
    if (XXH3_64bits(cfg->image, (size_t)hashed) != stored)
        return kvc_fail(err, KVC_FORMAT, "[F-08] header or section table damaged: its hash does not match");
    cfg->sections = (const kvc_file_section *)(cfg->image + sizeof *cfg->header);
    return KVC_OK;
}

static bool is_known(uint32_t type)
{
#define SECTION_TYPE(name, type) case type:
    switch (type) {
        KVC_SECTION_LIST(SECTION_TYPE)
        return true;
    default: return false;
    }
#undef SECTION_TYPE
}

static kvc_status check_entry(const kvc_file_section *s, kvc_error *err)
{
    if (s->flags & ~KVC_SECTION_REQUIRED)
        return kvc_fail(err, KVC_FORMAT, "[F-11] section %u has unknown flags 0x%x", s->type, s->flags);
    if (!is_known(s->type)) {
        if (s->flags & KVC_SECTION_REQUIRED)
            return kvc_fail(err, KVC_UNSUPPORTED, "[F-16] section %u is required and unknown to this version",
                            s->type);
    } else if (s->flags != (s->type == KVC_SECTION_provenance ? 0 : KVC_SECTION_REQUIRED)) {
        return kvc_fail(err, KVC_FORMAT, "[F-11] section %u has flags 0x%x", s->type, s->flags);
    }
    return KVC_OK;
}

/* `end` is where the bytes before this section end; it moves to the end of the section. */
static kvc_status check_section(const kvc_config *cfg, uint32_t index, uint64_t *end, kvc_error *err)
{
    const kvc_file_section *s = &cfg->sections[index];
    uint64_t start = round_up(*end);
    if (index && s->type <= s[-1].type)
        return kvc_fail(err, KVC_FORMAT, "[F-10] section %u follows section %u", s->type, s[-1].type);
    KVC_TRY(check_entry(s, err));
    if (s->offset != start)
        return kvc_fail(err, KVC_FORMAT, "[F-12] section %u starts at %llu, expected %llu", s->type,
                        (unsigned long long)s->offset, (unsigned long long)start);
    if (start >= cfg->n_bytes || s->bytes == 0 || s->bytes > cfg->n_bytes - start)
        return kvc_fail(err, KVC_FORMAT, "[F-13] section %u of %llu bytes at %llu does not fit the file's %zu",
                        s->type, (unsigned long long)s->bytes, (unsigned long long)start, cfg->n_bytes);
    if (!all_zero(cfg->image + *end, start - *end))
        return kvc_fail(err, KVC_FORMAT, "[F-15] the padding before section %u is not zero", s->type);
    if (XXH3_64bits(cfg->image + start, (size_t)s->bytes) != s->xxh3)
        return kvc_fail(err, KVC_FORMAT, "[F-14] section %u at %llu damaged: its hash does not match", s->type,
                        (unsigned long long)start);
    *end = start + s->bytes;
    return KVC_OK;
}

static kvc_status check_sections(kvc_config *cfg, kvc_error *err)
{
    uint64_t end;
    KVC_TRY(check_table_hash(cfg, &end, err));
    for (uint32_t i = 0; i < cfg->header->n_sections; i++) KVC_TRY(check_section(cfg, i, &end, err));
    if (end != cfg->n_bytes)
        return kvc_fail(err, KVC_FORMAT, "[F-18] the last section ends at %llu, the file at %zu",
                        (unsigned long long)end, cfg->n_bytes);
    return KVC_OK;
}

/* A section that has to be there with exactly this size. */
static kvc_status need_section(const kvc_config *cfg, uint32_t type, uint64_t bytes, const char *size_rule,
                               const void **out, kvc_error *err)
{
    const kvc_file_section *s = kvci_config_find(cfg, type);
    if (!s) return kvc_fail(err, KVC_FORMAT, "[F-17] section %u is missing", type);
    if (s->bytes != bytes)
        return kvc_fail(err, KVC_FORMAT, "[%s] section %u has %llu bytes, expected %llu", size_rule, type,
                        (unsigned long long)s->bytes, (unsigned long long)bytes);
    *out = cfg->image + s->offset;
    return KVC_OK;
}

/* ---- model and tokens ---- */

/* Printable text, ended by a NUL and padded with more of them. */
static bool is_name(const char *text, size_t room)
{
    size_t n = strnlen(text, room);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) return false;
    return n > 0 && n < room && all_zero((const uint8_t *)text + n, room - n);
}

static bool in_range(uint32_t value, uint32_t most)
{
    return value >= 1 && value <= most;
}

static kvc_status check_model(const kvc_model_info *m, kvc_error *err)
{
    if (!is_name(m->name, sizeof m->name) || !is_name(m->architecture, sizeof m->architecture))
        return kvc_fail(err, KVC_FORMAT,
                        "[F-21] model: name or architecture is empty, unterminated or not printable");
    if (!in_range(m->n_layers, 1u << 16) || !in_range(m->n_query_heads, 1u << 16) ||
        !in_range(m->n_kv_heads, 1u << 16) || !in_range(m->hidden_size, 1u << 24) ||
        !in_range(m->vocab_size, 1u << 28))
        return kvc_fail(err, KVC_FORMAT, "[F-22] model: %u layers, %u and %u heads, hidden %u, vocabulary %u",
                        m->n_layers, m->n_query_heads, m->n_kv_heads, m->hidden_size, m->vocab_size);
    if (!in_range(m->head_dim, KVC_MAX_HEAD_DIM) || m->head_dim % 8u)
        return kvc_fail(err, KVC_FORMAT, "[F-23] model: head dimension %u is not a multiple of 8 up to %u",
                        m->head_dim, KVC_MAX_HEAD_DIM);
    if (m->n_query_heads % m->n_kv_heads)
        return kvc_fail(err, KVC_FORMAT, "[F-24] model: %u query heads over %u KV heads", m->n_query_heads,
                        m->n_kv_heads);
    if (!isfinite(m->rope_theta) || m->rope_theta < 0.0)
        return kvc_fail(err, KVC_FORMAT, "[F-25] model: rope_theta is negative or not finite");
    return KVC_OK;
}

static kvc_status check_tokens(const kvc_file_tokens *t, kvc_error *err)
{
    if (!in_range(t->policy.page, KVC_MAX_PAGE) || t->policy.page % 8u)
        return kvc_fail(err, KVC_FORMAT, "[F-31] tokens: page %u is not a multiple of 8 up to %u", t->policy.page,
                        KVC_MAX_PAGE);
    if (t->policy.sinks > 1u << 20 || t->policy.window > 1u << 20)
        return kvc_fail(err, KVC_FORMAT, "[F-32] tokens: %u sinks, window %u", t->policy.sinks, t->policy.window);
    if (t->reserved) return kvc_fail(err, KVC_FORMAT, "[F-33] tokens: a reserved field is not zero");
    return KVC_OK;
}

/* ---- layers ---- */

/* Where a descriptor's parameters are; NULL without any. */
static kvc_status find_parameters(const kvc_config *cfg, const kvc_codec *codec, const void **params, kvc_error *err)
{
    const kvc_file_section *s = kvci_config_find(cfg, KVC_SECTION_parameters);
    uint64_t room = s ? s->bytes : 0, end = (uint64_t)codec->param_offset + codec->param_bytes;
    bool empty = codec->param_bytes == 0;
    if (codec->param_offset % KVC_FILE_ALIGNMENT || end > room || (empty && codec->param_offset))
        return kvc_fail(err, KVC_FORMAT, "[F-45] %u bytes of parameters at %u of %llu", codec->param_bytes,
                        codec->param_offset, (unsigned long long)room);
    *params = empty ? NULL : cfg->image + s->offset + codec->param_offset;
    return KVC_OK;
}

/* The descriptor by itself, then with the model's shape. */
static kvc_status check_codec(const kvc_config *cfg, const kvc_codec *codec, kvc_error *err)
{
    kvc_coder coder;
    const kvc_model_info *m = cfg->model;
    kvc_error why;
    kvc_status status = kvci_codec_check(codec, &why);
    if (status != KVC_OK) return kvc_fail(err, status, "[F-%d] %s", status == KVC_UNSUPPORTED ? 41 : 42, why.message);
    if ((codec->scale == KVC_SCALE_TOK || codec->scale == KVC_SCALE_CH) && codec->group == 0)
        return kvc_fail(err, KVC_FORMAT, "[F-43] the scale group is not written out");
    if (kvc_codec_since(codec) > cfg->header->reader_min)
        return kvc_fail(err, KVC_FORMAT, "[F-46] the codec is newer than the file's reader version");
    status = kvci_coder_shape(&coder, codec, m->n_kv_heads, m->head_dim, cfg->tokens->policy.page, &why);
    return status == KVC_OK ? KVC_OK : kvc_fail(err, KVC_FORMAT, "[F-44] %s", why.message);
}

/* Bytes of parameters that the codec takes. */
static kvc_status find_needed(const kvc_config *cfg, const kvc_codec *codec, uint32_t *needed, kvc_error *err)
{
    kvc_codec bare = *codec;
    kvc_coder coder;
    kvc_error why;
    bare.param_bytes = bare.param_offset = 0;
    kvc_status status = kvc_coder_init(&coder, &bare, NULL, cfg->model->n_kv_heads, cfg->model->head_dim,
                                       cfg->tokens->policy.page, &why);
    if (status != KVC_OK) return kvc_fail(err, KVC_FORMAT, "[F-47] %s", why.message);
    *needed = coder.codec.param_bytes;
    return KVC_OK;
}

/* `room` is what the section has left: it bounds the time that a file can take. */
static kvc_status check_values(const kvc_config *cfg, const kvc_codec *codec, kvc_coder *coder, const void *params,
                               uint64_t *room, kvc_error *err)
{
    kvc_error why;
    uint32_t needed = 0;
    KVC_TRY(find_needed(cfg, codec, &needed, err));
    if (codec->param_bytes != needed)
        return kvc_fail(err, KVC_FORMAT, "[F-47] %u bytes of parameters, the codec takes %u", codec->param_bytes,
                        needed);
    if (needed > *room) return kvc_fail(err, KVC_FORMAT, "[F-48] parameters overlap those of another descriptor");
    *room -= needed;
    kvc_status status = kvc_coder_init(coder, codec, params, cfg->model->n_kv_heads, cfg->model->head_dim,
                                       cfg->tokens->policy.page, &why);
    return status == KVC_OK ? KVC_OK : kvc_fail(err, KVC_FORMAT, "[F-49] %s", why.message);
}

static kvc_status check_side(kvc_config *cfg, const kvc_codec *codec, uint64_t *room, kvc_error *err)
{
    const void *params = NULL;
    kvc_coder coder;
    KVC_TRY(find_parameters(cfg, codec, &params, err));
    KVC_TRY(check_codec(cfg, codec, err));
    KVC_TRY(check_values(cfg, codec, &coder, params, room, err));
    cfg->page_bytes += coder.page_bytes;
    return KVC_OK;
}

static kvc_status check_layers(kvc_config *cfg, kvc_error *err)
{
    const kvc_file_section *parameters = kvci_config_find(cfg, KVC_SECTION_parameters);
    uint64_t room = parameters ? parameters->bytes : 0;
    for (uint32_t i = 0; i < 2 * cfg->model->n_layers; i++) {
        const kvc_layer *layer = &cfg->layers[i / 2];
        kvc_error why;
        kvc_status status = check_side(cfg, i % 2 ? &layer->value : &layer->key, &room, &why);
        if (status == KVC_OK) continue;
        const char *rule_end = strchr(why.message, ' '); /* the rule number stays in front */
        return kvc_fail(err, status, "%.*s layer %u %s: %s", (int)(rule_end - why.message), why.message, i / 2,
                        i % 2 ? "value" : "key", rule_end + 1);
    }
    return KVC_OK;
}

static kvc_status check_provenance(const kvc_config *cfg, kvc_error *err)
{
    const kvc_file_section *s = kvci_config_find(cfg, KVC_SECTION_provenance);
    if (s && memchr(cfg->image + s->offset, 0, (size_t)s->bytes))
        return kvc_fail(err, KVC_FORMAT, "[F-60] provenance: a NUL byte in the text");
    return KVC_OK;
}

kvc_status kvci_config_check(kvc_config *cfg, kvc_error *err)
{
    const void *model = NULL, *tokens = NULL, *layers = NULL;
    KVC_TRY(check_header(cfg, err));
    KVC_TRY(check_sections(cfg, err));
    KVC_TRY(need_section(cfg, KVC_SECTION_model, sizeof *cfg->model, "F-20", &model, err));
    KVC_TRY(check_model(cfg->model = model, err));
    KVC_TRY(need_section(cfg, KVC_SECTION_tokens, sizeof *cfg->tokens, "F-30", &tokens, err));
    KVC_TRY(check_tokens(cfg->tokens = tokens, err));
    uint64_t layers_bytes = (uint64_t)cfg->model->n_layers * sizeof *cfg->layers;
    KVC_TRY(need_section(cfg, KVC_SECTION_layers, layers_bytes, "F-40", &layers, err));
    cfg->layers = layers;
    KVC_TRY(check_layers(cfg, err));
    return check_provenance(cfg, err);
}
