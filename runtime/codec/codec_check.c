/* codec_check.c - the tables of codec pieces, and what can be said of a descriptor without a shape. */
#include "codec/pieces.h"

const kvc_symbol *kvci_symbol_find(uint8_t wire_id)
{
#define SYMBOL_ENTRY(name, wire_id, since_format) [wire_id] = &kvci_symbol_##name,
    static const kvc_symbol *const table[256] = {KVC_SYMBOL_LIST(SYMBOL_ENTRY)};
#undef SYMBOL_ENTRY
    return table[wire_id];
}

const kvc_transform *kvci_transform_find(uint8_t wire_id)
{
#define TRANSFORM_ENTRY(name, wire_id, since_format) [wire_id] = &kvci_transform_##name,
    static const kvc_transform *const table[256] = {KVC_TRANSFORM_LIST(TRANSFORM_ENTRY)};
#undef TRANSFORM_ENTRY
    return table[wire_id];
}

static uint32_t symbol_since(uint8_t wire_id)
{
#define SYMBOL_SINCE(name, wire_id, since_format) [wire_id] = since_format,
    static const uint16_t since[256] = {KVC_SYMBOL_LIST(SYMBOL_SINCE)};
#undef SYMBOL_SINCE
    return since[wire_id];
}

static uint32_t transform_since(uint8_t wire_id)
{
#define TRANSFORM_SINCE(name, wire_id, since_format) [wire_id] = since_format,
    static const uint16_t since[256] = {KVC_TRANSFORM_LIST(TRANSFORM_SINCE)};
#undef TRANSFORM_SINCE
    return since[wire_id];
}

uint32_t kvc_codec_since(const kvc_codec *codec)
{
    uint32_t since = codec->flags & KVC_FLAG_JOINT ? 1001 : symbol_since(codec->symbol);
    for (uint32_t i = 0; i < codec->n_transforms; i++) {
        uint32_t other = transform_since(codec->transform[i]);
        if (other > since) since = other;
    }
    return since;
}

static int all_zero(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i]) return 0;
    return 1;
}

static kvc_status check_transforms(const kvc_codec *codec, kvc_error *err)
{
    if (codec->n_transforms > sizeof codec->transform)
        return kvc_fail(err, KVC_FORMAT, "%u transforms, at most %zu", codec->n_transforms, sizeof codec->transform);
    for (uint32_t i = 0; i < codec->n_transforms; i++)
        if (!kvci_transform_find(codec->transform[i]))
            return kvc_fail(err, KVC_UNSUPPORTED, "transform %u is not in this version", codec->transform[i]);
    if (!all_zero(codec->transform + codec->n_transforms, sizeof codec->transform - codec->n_transforms))
        return kvc_fail(err, KVC_FORMAT, "an unused transform entry is not zero");
    return KVC_OK;
}

kvc_status kvci_check_unsegmented(const kvc_codec *codec, kvc_error *err)
{
    if (all_zero(codec->segment, sizeof codec->segment)) return KVC_OK;
    return kvc_fail(err, KVC_FORMAT, "segments for a codec that has none");
}

/* Has any piece of it constants? */
static int is_fitted(const kvc_codec *codec)
{
    int fitted = kvci_symbol_find(codec->symbol)->param_bytes != NULL;
    for (uint32_t i = 0; i < codec->n_transforms; i++)
        fitted |= kvci_transform_find(codec->transform[i])->param_bytes != NULL;
    return fitted;
}

kvc_status kvci_codec_check(const kvc_codec *codec, kvc_error *err)
{
    const kvc_symbol *symbol = kvci_symbol_find(codec->symbol);
    if (!symbol) return kvc_fail(err, KVC_UNSUPPORTED, "symbol %u is not in this version", codec->symbol);
    KVC_TRY(symbol->check(codec, err));
    KVC_TRY(check_transforms(codec, err));
    if (codec->flags & KVC_FLAG_PRE) return kvc_fail(err, KVC_UNSUPPORTED, "'@pre' is not in this version");
    if (codec->flags & ~KVC_FLAG_JOINT) return kvc_fail(err, KVC_FORMAT, "unknown flags 0x%02x", codec->flags);
    if (codec->group && codec->scale != KVC_SCALE_TOK && codec->scale != KVC_SCALE_CH)
        return kvc_fail(err, KVC_FORMAT, "group %u without a scale that has groups", codec->group);
    if (!all_zero(codec->reserved, sizeof codec->reserved))
        return kvc_fail(err, KVC_FORMAT, "a reserved byte is not zero");
    if ((codec->param_bytes || codec->param_offset) && !is_fitted(codec))
        return kvc_fail(err, KVC_FORMAT, "%u bytes of parameters for a codec that has none", codec->param_bytes);
    return KVC_OK;
}
