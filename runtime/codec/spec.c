/* spec.c - spec strings: "int4.ch64+had" to a kvc_codec and back. FORMAT.md, "spec strings".
 *
 *     spec    := symbol ["." scale] {"+" transform} ["@pre"] ["@joint"]
 *     symbol  := "fp16" | "fp8" | "int" BITS | "lut" BITS | "vq" DIMS "x" BITS | "vq[" MIX "]x" BITS
 *              | "seg[" EIGHTHS "]"
 *     scale   := "tok" [GROUP] | "ch" [GROUP] | "static" | "head"
 *     MIX     := NUMBER "*" DIMS {"," NUMBER "*" DIMS}, DIMS increasing | NUMBER
 *     EIGHTHS := 8 numbers with commas between them
 *
 * A recursive-descent reader over one cursor. The whole grammar is read before anything is judged, so that a
 * spec which only lacks a codec is told apart from one that is misspelt. */
#include <stdio.h>
#include <string.h>
#include "codec/pieces.h"

typedef struct word {
    const char *name;
    uint8_t id;
} word;

#define WORD(name, wire_id, ...) {#name, wire_id},
static const word symbols[] = {KVC_SYMBOL_LIST(WORD) KVC_SYMBOL_RESERVED(WORD)};
static const word transforms[] = {KVC_TRANSFORM_LIST(WORD) KVC_TRANSFORM_RESERVED(WORD)};
#undef WORD
static const word scales[] = {
    {"tok", KVC_SCALE_TOK}, {"ch", KVC_SCALE_CH}, {"static", KVC_SCALE_STATIC}, {"head", KVC_SCALE_HEAD}};

#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef struct cursor {
    const char *spec, *at;
    kvc_error *err;
} cursor;

static kvc_status malformed(const cursor *c, const char *expected)
{
    return kvc_fail(c->err, KVC_FORMAT, "spec '%.64s': expected %s at column %zu ('%.16s')", c->spec, expected,
                    (size_t)(c->at - c->spec) + 1, c->at);
}

static int take(cursor *c, const char *text)
{
    size_t n = strlen(text);
    if (strncmp(c->at, text, n) != 0) return 0;
    c->at += n;
    return 1;
}

/* The word of the table that the cursor is at, or NULL. No word of a table is a prefix of another. */
static const word *take_word(cursor *c, const word *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (take(c, words[i].name)) return &words[i];
    return NULL;
}

static int at_digit(const cursor *c)
{
    return *c->at >= '0' && *c->at <= '9';
}

/* A decimal number lo .. hi without leading zeros. */
static kvc_status take_number(cursor *c, const char *what, uint32_t lo, uint32_t hi, uint32_t *out)
{
    const char *start = c->at;
    uint32_t value = 0;
    while (at_digit(c) && value <= hi) value = value * 10 + (uint32_t)(*c->at++ - '0');
    if (c->at == start || value < lo || value > hi || (*start == '0' && c->at - start > 1)) {
        c->at = start;
        return malformed(c, what);
    }
    *out = value;
    return KVC_OK;
}

/* A number for each eighth of the latent channels, behind the '['. */
static kvc_status read_eighths(cursor *c, kvc_codec *codec)
{
    for (uint32_t i = 0, value = 0; i < sizeof codec->segment; i++) {
        if (i && !take(c, ",")) return malformed(c, "',' (8 numbers, one for each eighth of the channels)");
        KVC_TRY(take_number(c, "bits of an eighth (0 to 8)", 0, 8, &value));
        codec->segment[i] = (uint8_t)value;
    }
    return take(c, "]") ? KVC_OK : malformed(c, "']' (8 numbers, one for each eighth of the channels)");
}

static kvc_status read_bits(cursor *c, const char *what, uint32_t hi, kvc_codec *codec)
{
    uint32_t bits = 0;
    KVC_TRY(take_number(c, what, 1, hi, &bits));
    codec->bits = (uint8_t)bits;
    return KVC_OK;
}

static kvc_status read_seg(cursor *c, kvc_codec *codec)
{
    if (!take(c, "[")) return malformed(c, "'['");
    KVC_TRY(read_eighths(c, codec));
    for (uint32_t i = 0; i < sizeof codec->segment; i++)
        if (codec->segment[i] > codec->bits) codec->bits = codec->segment[i];
    return KVC_OK;
}

/* "8*2,4*8]": how many codes of how many channels there are in every 64. "8]": so many, shared out among heads. */
static kvc_status read_mix(cursor *c, kvc_codec *codec)
{
    uint32_t n = 0, dims = 0, last = 0;
    do {
        KVC_TRY(take_number(c, "a number of codes (1 to 64)", 1, 64, &n));
        if (last == 0 && take(c, "]")) {
            codec->segment[5] = (uint8_t)n;
            return KVC_OK;
        }
        if (!take(c, "*")) return malformed(c, "'*' (codes * channels of each)");
        const char *start = c->at;
        KVC_TRY(take_number(c, "channels of a code (1, 2, 4, 8 or 16)", 1, 16, &dims));
        if (dims <= last || (dims & (dims - 1))) {
            c->at = start;
            return malformed(c, "channels of a code (1, 2, 4, 8 or 16, more than before)");
        }
        codec->segment[__builtin_ctz(dims)] = (uint8_t)n;
        last = dims;
    } while (take(c, ","));
    return take(c, "]") ? KVC_OK : malformed(c, "',' or ']'");
}

static kvc_status read_vq(cursor *c, kvc_codec *codec)
{
    uint32_t dims = 0;
    if (take(c, "["))
        KVC_TRY(read_mix(c, codec));
    else
        KVC_TRY(take_number(c, "dimensions (1 to 16) or '['", 1, 16, &dims));
    codec->dims = (uint8_t)dims;
    if (!take(c, "x")) return malformed(c, "'x'");
    return read_bits(c, "bits (1 to 12)", 12, codec);
}

static kvc_status read_symbol(cursor *c, kvc_codec *codec, const word **symbol)
{
    codec->dims = 1;
    if (!(*symbol = take_word(c, symbols, COUNT(symbols)))) return malformed(c, "fp16, fp8, int, lut, vq or seg");
    codec->symbol = (*symbol)->id;
    if (strcmp((*symbol)->name, "seg") == 0) return read_seg(c, codec);
    if (strcmp((*symbol)->name, "vq") == 0) return read_vq(c, codec);
    if (strncmp((*symbol)->name, "fp", 2) != 0) return read_bits(c, "bits (1 to 8)", 8, codec);
    codec->bits = (*symbol)->name[2] == '8' ? 8 : 16;
    return KVC_OK;
}

static kvc_status read_scale(cursor *c, kvc_codec *codec)
{
    const word *scale = take_word(c, scales, COUNT(scales));
    if (!scale) return malformed(c, "tok, ch, static or head");
    codec->scale = scale->id;
    if ((scale->id == KVC_SCALE_TOK || scale->id == KVC_SCALE_CH) && at_digit(c)) {
        uint32_t group;
        KVC_TRY(take_number(c, "a group size (1 to 2048)", 1, KVC_MAX_ROW, &group));
        codec->group = (uint16_t)group;
    }
    return KVC_OK;
}

static kvc_status read_transforms(cursor *c, kvc_codec *codec, const word **unsupported)
{
    while (take(c, "+")) {
        const word *transform = take_word(c, transforms, COUNT(transforms));
        if (!transform) return malformed(c, "had, smooth, perm, rot, klt or tucker");
        if (codec->n_transforms == sizeof codec->transform) return malformed(c, "at most 4 transforms");
        codec->transform[codec->n_transforms++] = transform->id;
        if (!kvci_transform_find(transform->id) && !*unsupported) *unsupported = transform;
    }
    return KVC_OK;
}

kvc_status kvc_codec_parse(kvc_codec *out, const char *spec, kvc_error *err)
{
    cursor c = {spec, spec, err};
    kvc_codec codec = {0};
    const word *symbol, *transform = NULL;
    if (strlen(spec) >= KVC_SPEC_MAX) return kvc_fail(err, KVC_FORMAT, "spec '%.32s...' is too long", spec);
    KVC_TRY(read_symbol(&c, &codec, &symbol));
    if (take(&c, ".")) KVC_TRY(read_scale(&c, &codec));
    KVC_TRY(read_transforms(&c, &codec, &transform));
    if (take(&c, "@pre")) codec.flags |= KVC_FLAG_PRE;
    if (take(&c, "@joint")) codec.flags |= KVC_FLAG_JOINT;
    if (*c.at) return malformed(&c, "'.', '+', '@pre', '@joint' or the end");
    if (!kvci_symbol_find(codec.symbol))
        return kvc_fail(err, KVC_UNSUPPORTED, "spec '%s': codec '%s' is not in this version", spec, symbol->name);
    if (transform)
        return kvc_fail(err, KVC_UNSUPPORTED, "spec '%s': transform '%s' is not in this version", spec,
                        transform->name);
    if (codec.scale == KVC_SCALE_NONE && strcmp(symbol->name, "int") == 0) codec.scale = KVC_SCALE_TOK;
    kvc_error why;
    kvc_status status = kvci_codec_check(&codec, &why);
    if (status != KVC_OK) return kvc_fail(err, status, "spec '%s': %s", spec, why.message);
    *out = codec;
    return KVC_OK;
}

static const char *name_of(const word *words, size_t n, uint8_t id)
{
    for (size_t i = 0; i < n; i++)
        if (words[i].id == id) return words[i].name;
    return "?";
}

static int put_eighths(const kvc_codec *codec, char *out, size_t room)
{
    const uint8_t *s = codec->segment;
    return snprintf(out, room, "[%u,%u,%u,%u,%u,%u,%u,%u]", s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
}

static int put_mix(const kvc_codec *codec, char *out, size_t room)
{
    int at = 0;
    if (codec->segment[5]) return snprintf(out, room, "[%u]", codec->segment[5]);
    for (uint32_t k = 0; k < 5; k++)
        if (codec->segment[k])
            at += snprintf(out + at, room - (size_t)at, "%c%u*%u", at ? ',' : '[', codec->segment[k], 1u << k);
    return at + snprintf(out + at, room - (size_t)at, "]");
}

static int put_symbol(const kvc_codec *codec, char *out, size_t room)
{
    const char *name = name_of(symbols, COUNT(symbols), codec->symbol);
    int at = snprintf(out, room, "%s", name);
    if (strcmp(name, "seg") == 0) return at + put_eighths(codec, out + at, room - (size_t)at);
    if (strcmp(name, "vq") == 0) {
        if (codec->dims)
            at += snprintf(out + at, room - (size_t)at, "%u", codec->dims);
        else
            at += put_mix(codec, out + at, room - (size_t)at);
        at += snprintf(out + at, room - (size_t)at, "x");
    }
    if (codec->bits < 16) at += snprintf(out + at, room - (size_t)at, "%u", codec->bits);
    return at;
}

void kvc_codec_format(const kvc_codec *codec, char out[KVC_SPEC_MAX])
{
    int at = put_symbol(codec, out, KVC_SPEC_MAX);
    if (codec->scale)
        at += snprintf(out + at, KVC_SPEC_MAX - (size_t)at, ".%s", name_of(scales, COUNT(scales), codec->scale));
    if (codec->group) at += snprintf(out + at, KVC_SPEC_MAX - (size_t)at, "%u", codec->group);
    for (uint32_t i = 0; i < codec->n_transforms && i < sizeof codec->transform; i++)
        at += snprintf(out + at, KVC_SPEC_MAX - (size_t)at, "+%s",
                       name_of(transforms, COUNT(transforms), codec->transform[i]));
    if (codec->flags & KVC_FLAG_JOINT) snprintf(out + at, KVC_SPEC_MAX - (size_t)at, "@joint");
}
