/* gguf_parse.c - the structure of a GGUF file, version 2 and 3, little-endian:
 *     "GGUF" u32 version u64 tensors u64 values
 *     values:  string key, u32 kind, value                  (string: u64 length, bytes; array: u32 kind, u64
 * n, elements) tensors: string name, u32 rank, u64 sizes[rank] (fastest first), u32 type, u64 offset data,
 * from the next multiple of general.alignment on; offsets count from there Nothing is believed before it is
 * checked against the bytes that are there: counts are bounded by what the smallest entries would take, so
 * memory is bounded by the file's size. */
#include <stdlib.h>
#include <string.h>
#include "gguf_private.h"

enum { MIN_VALUE_BYTES = 8 + 4 + 1, MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8, MAX_ALIGNMENT = 1 << 20 };

typedef struct cursor {
    gguf *g;
    size_t at;
    kvc_error *err;
} cursor;

uint32_t gguf_u32(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}
uint64_t gguf_u64(const uint8_t *p)
{
    return gguf_u32(p) | (uint64_t)gguf_u32(p + 4) << 32;
}

static kvc_status fail_at(const cursor *c, const char *what)
{
    return kvc_fail(c->err, KVC_FORMAT, "%s: offset %zu: %s", c->g->path, c->at, what);
}

static kvc_status take(cursor *c, uint64_t n, const uint8_t **out)
{
    if (n > c->g->n - c->at) return fail_at(c, "the file ends inside its header (truncated?)");
    *out = c->g->bytes + c->at;
    c->at += (size_t)n;
    return KVC_OK;
}

static kvc_status take_u32(cursor *c, uint32_t *out)
{
    const uint8_t *p = NULL;
    KVC_TRY(take(c, 4, &p));
    *out = gguf_u32(p);
    return KVC_OK;
}

static kvc_status take_u64(cursor *c, uint64_t *out)
{
    const uint8_t *p = NULL;
    KVC_TRY(take(c, 8, &p));
    *out = gguf_u64(p);
    return KVC_OK;
}

static kvc_status take_text(cursor *c, gguf_text *out)
{
    const uint8_t *p = NULL;
    KVC_TRY(take_u64(c, &out->n));
    KVC_TRY(take(c, out->n, &p));
    out->bytes = (const char *)p;
    return KVC_OK;
}

/* A key or tensor name: short printable text, so that messages may show it. */
static kvc_status take_name(cursor *c, gguf_text *out)
{
    KVC_TRY(take_text(c, out));
    if (!out->n || out->n > 256) return fail_at(c, "a name is empty or longer than 256 bytes");
    for (uint64_t i = 0; i < out->n; i++)
        if (out->bytes[i] <= 0x20 || out->bytes[i] >= 0x7f) return fail_at(c, "a name is no printable ASCII");
    return KVC_OK;
}

static unsigned kind_bytes(gguf_kind kind)
{
    static const uint8_t bytes[GGUF_KINDS] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,   [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
        [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};
    return bytes[kind];
}

static kvc_status take_kind(cursor *c, gguf_kind *out)
{
    uint32_t kind = 0;
    KVC_TRY(take_u32(c, &kind));
    if (kind >= GGUF_KINDS) return fail_at(c, "unknown type of a metadata value");
    *out = (gguf_kind)kind;
    return KVC_OK;
}

static kvc_status skip_elements(cursor *c, gguf_kind kind, uint64_t n)
{
    const uint8_t *p;
    uint64_t bytes;
    gguf_text text;
    if (kind != GGUF_STRING) {
        if (__builtin_mul_overflow(n, kind_bytes(kind), &bytes)) return fail_at(c, "an array is too long");
        return take(c, bytes, &p);
    }
    for (uint64_t i = 0; i < n; i++) KVC_TRY(take_text(c, &text));
    return KVC_OK;
}

static kvc_status take_value(cursor *c, gguf_value *v)
{
    KVC_TRY(take_name(c, &v->key));
    KVC_TRY(take_kind(c, &v->kind));
    v->element = v->kind;
    v->n = 1;
    if (v->kind == GGUF_ARRAY) {
        KVC_TRY(take_kind(c, &v->element));
        if (v->element == GGUF_ARRAY) return fail_at(c, "arrays of arrays are not supported");
        KVC_TRY(take_u64(c, &v->n));
    }
    v->data = c->g->bytes + c->at;
    return skip_elements(c, v->element, v->n);
}

static kvc_status take_sizes(cursor *c, gguf_tensor *t)
{
    uint64_t values;
    KVC_TRY(take_u32(c, &t->rank));
    if (t->rank < 1 || t->rank > 2)
        return kvc_fail(c->err, KVC_UNSUPPORTED, "%s: tensor '%.*s': rank %u is not supported", c->g->path,
                        (int)t->name.n, t->name.bytes, t->rank);
    KVC_TRY(take_u64(c, &t->cols));
    t->rows = 1;
    if (t->rank == 2) KVC_TRY(take_u64(c, &t->rows));
    if (!t->rows || !t->cols || __builtin_mul_overflow(t->rows, t->cols, &values) || values > (uint64_t)1 << 48)
        return kvc_fail(c->err, KVC_FORMAT, "%s: tensor '%.*s': impossible size", c->g->path, (int)t->name.n,
                        t->name.bytes);
    return KVC_OK;
}

static kvc_status take_tensor(cursor *c, gguf_tensor *t)
{
    uint32_t type = 0;
    KVC_TRY(take_name(c, &t->name));
    KVC_TRY(take_sizes(c, t));
    KVC_TRY(take_u32(c, &type));
    KVC_TRY(take_u64(c, &t->offset));
    t->type = gguf_type_find(type);
    if (!t->type)
        return kvc_fail(c->err, KVC_UNSUPPORTED, "%s: tensor '%.*s': type %s (%u) is not supported", c->g->path,
                        (int)t->name.n, t->name.bytes, gguf_type_name(type), type);
    if (t->cols % t->type->values)
        return kvc_fail(c->err, KVC_FORMAT, "%s: tensor '%.*s': rows of %llu values are no whole blocks of %s",
                        c->g->path, (int)t->name.n, t->name.bytes, (unsigned long long)t->cols, t->type->name);
    t->row_bytes = t->cols / t->type->values * t->type->bytes;
    return KVC_OK;
}

static int compare_text(gguf_text a, gguf_text b)
{
    int order = memcmp(a.bytes, b.bytes, a.n < b.n ? a.n : b.n);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int by_key(const void *a, const void *b)
{
    return compare_text(((const gguf_value *)a)->key, ((const gguf_value *)b)->key);
}

static int by_name(const void *a, const void *b)
{
    return compare_text(((const gguf_tensor *)a)->name, ((const gguf_tensor *)b)->name);
}

static int by_offset(const void *a, const void *b)
{
    const gguf_tensor *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* The array at `list` is sorted, and two neighbours that compare equal are refused. */
static kvc_status sort_unique(const gguf *g, void *list, size_t n, size_t size, const char *what,
                              int (*compare)(const void *, const void *), kvc_error *err)
{
    qsort(list, n, size, compare);
    for (size_t i = 1; i < n; i++) {
        const char *item = (const char *)list + i * size;
        const gguf_text *name = (const gguf_text *)item; /* the first member of both */
        if (!compare(item - size, item))
            return kvc_fail(err, KVC_FORMAT, "%s: %s '%.*s' is there twice", g->path, what, (int)name->n,
                            name->bytes);
    }
    return KVC_OK;
}

static kvc_status take_counts(cursor *c)
{
    const uint8_t *magic = NULL;
    uint32_t version = 0;
    uint64_t tensors = 0, values = 0;
    KVC_TRY(take(c, 4, &magic));
    if (memcmp(magic, "GGUF", 4)) return kvc_fail(c->err, KVC_FORMAT, "%s: is no GGUF file", c->g->path);
    KVC_TRY(take_u32(c, &version));
    if (version != 2 && version != 3)
        return kvc_fail(c->err, KVC_UNSUPPORTED, "%s: GGUF version %u%s is not supported (2 and 3 are)", c->g->path,
                        version, version & 0xffff ? "" : " (big-endian?)");
    KVC_TRY(take_u64(c, &tensors));
    KVC_TRY(take_u64(c, &values));
    size_t left = c->g->n - c->at;
    if (values > left / MIN_VALUE_BYTES || tensors > left / MIN_TENSOR_BYTES)
        return fail_at(c, "more entries are announced than the file can hold");
    gguf *g = c->g;
    g->n_values = (size_t)values;
    g->n_tensors = (size_t)tensors;
    g->values = calloc(g->n_values + 1, sizeof *g->values);
    g->tensors = calloc(g->n_tensors + 1, sizeof *g->tensors);
    if (g->values && g->tensors) return KVC_OK;
    return kvc_fail(c->err, KVC_NO_MEMORY, "%s: out of memory", g->path);
}

/* Offsets are aligned, inside the file, and ranges do not overlap. */
static kvc_status place_tensors(gguf *g, size_t header_end, kvc_error *err)
{
    uint32_t alignment = 32;
    KVC_TRY(gguf_get_count(g, "general.alignment", 8, MAX_ALIGNMENT, true, &alignment, err));
    if (alignment & (alignment - 1))
        return kvc_fail(err, KVC_FORMAT, "%s: general.alignment: %u is no power of two", g->path, alignment);
    uint64_t start = (header_end + alignment - 1) / alignment * alignment;
    uint64_t room = start < g->n ? g->n - start : 0, end = 0;
    qsort(g->tensors, g->n_tensors, sizeof *g->tensors, by_offset);
    for (size_t i = 0; i < g->n_tensors; i++) {
        gguf_tensor *t = &g->tensors[i];
        uint64_t bytes = t->rows * t->row_bytes;
        const char *wrong = t->offset % alignment                          ? "is not aligned"
                            : t->offset < end                              ? "overlaps another tensor"
                            : t->offset > room || bytes > room - t->offset ? "goes past the end (truncated?)"
                                                                           : NULL;
        if (wrong)
            return kvc_fail(err, KVC_FORMAT, "%s: tensor '%.*s': data at offset %llu %s", g->path, (int)t->name.n,
                            t->name.bytes, (unsigned long long)t->offset, wrong);
        t->data = g->bytes + start + t->offset;
        end = t->offset + bytes;
    }
    return KVC_OK;
}

static kvc_status parse(gguf *g, kvc_error *err)
{
    cursor c = {g, 0, err};
    KVC_TRY(take_counts(&c));
    for (size_t i = 0; i < g->n_values; i++) KVC_TRY(take_value(&c, &g->values[i]));
    for (size_t i = 0; i < g->n_tensors; i++) KVC_TRY(take_tensor(&c, &g->tensors[i]));
    KVC_TRY(sort_unique(g, g->values, g->n_values, sizeof *g->values, "metadata key", by_key, err));
    KVC_TRY(place_tensors(g, c.at, err));
    return sort_unique(g, g->tensors, g->n_tensors, sizeof *g->tensors, "tensor", by_name, err);
}

kvc_status gguf_parse(gguf *out, const char *path, const void *bytes, size_t n, kvc_error *err)
{
    *out = (gguf){.path = path, .bytes = bytes, .n = n};
    kvc_status status = parse(out, err);
    if (status != KVC_OK) gguf_free(out);
    return status;
}

void gguf_free(gguf *g)
{
    free(g->values);
    free(g->tensors);
    *g = (gguf){0};
}

const gguf_value *gguf_find(const gguf *g, const char *key)
{
    gguf_value wanted = {.key = {key, strlen(key)}};
    return g->n_values ? bsearch(&wanted, g->values, g->n_values, sizeof wanted, by_key) : NULL;
}

const gguf_tensor *gguf_find_tensor(const gguf *g, const char *name)
{
    gguf_tensor wanted = {.name = {name, strlen(name)}};
    return g->n_tensors ? bsearch(&wanted, g->tensors, g->n_tensors, sizeof wanted, by_name) : NULL;
}
