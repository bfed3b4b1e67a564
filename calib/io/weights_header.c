/* weights_header.c - the header of a safetensors file: 8 bytes of little-endian length, then a JSON object
 * {"name": {"dtype", "shape", "data_offsets": [begin, end)}, ..., "__metadata__": {text: text}}, then the
 * data. Offsets count from the end of the header; together the tensors cover the data without hole or
 * overlap. */
#include <stdlib.h>
#include <string.h>
#include "json.h"
#include "weights_private.h"

typedef struct entry {
    tensor t;
    uint64_t begin, end;
} entry;

typedef struct header {
    const char *file;
    uint64_t data_bytes;
    const uint8_t *data;
    entry *entries;
    size_t n;
} header;

static uint64_t little_endian(const uint8_t *p)
{
    uint64_t x = 0;
    for (int i = 7; i >= 0; i--) x = x << 8 | p[i];
    return x;
}

/* Bits of one value; 0 for a name that is not known here. */
static unsigned dtype_bits(const char *name)
{
    static const struct {
        const char *name;
        unsigned bits;
    } known[] = {{"F32", 32}, {"F16", 16}, {"BF16", 16},   {"F64", 64},    {"C64", 64},    {"I64", 64},
                 {"U64", 64}, {"I32", 32}, {"U32", 32},    {"I16", 16},    {"U16", 16},    {"I8", 8},
                 {"U8", 8},   {"BOOL", 8}, {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F4", 4}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name)) return known[i].bits;
    return 0;
}

static kvc_status fail_tensor(const header *h, const char *name, const char *what, kvc_error *err)
{
    return kvc_fail(err, KVC_FORMAT, "%s: header: tensor '%.120s': %s", h->file, name, what);
}

bool tensor_name_is_printable(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f) return false;
    return true;
}

static bool read_size(const json_t *value, uint64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static kvc_status read_shape(const header *h, const char *name, const json_t *shape, tensor *t, kvc_error *err)
{
    if (!json_is_array(shape)) return fail_tensor(h, name, "\"shape\" is no list", err);
    size_t rank = json_array_size(shape);
    t->n = 1;
    for (size_t i = 0; i < rank; i++) {
        uint64_t size;
        if (!read_size(json_array_get(shape, i), &size))
            return fail_tensor(h, name, "\"shape\" holds what is no natural number", err);
        if (i < 4) t->shape[i] = size;
        if (__builtin_mul_overflow(t->n, size, &t->n)) return fail_tensor(h, name, "\"shape\" is too large", err);
    }
    t->rank = rank <= 4 ? (uint32_t)rank : 0;
    if (rank > 4) t->foreign = "more than 4 dimensions";
    return KVC_OK;
}

static kvc_status read_offsets(const header *h, const char *name, const json_t *offsets, entry *e, kvc_error *err)
{
    if (json_array_size(offsets) != 2 || !read_size(json_array_get(offsets, 0), &e->begin) ||
        !read_size(json_array_get(offsets, 1), &e->end) || e->begin > e->end)
        return fail_tensor(h, name, "\"data_offsets\" is not [begin, end]", err);
    if (e->end > h->data_bytes)
        return kvc_fail(err, KVC_FORMAT,
                        "%s: header: tensor '%.120s': data ends at byte %llu of %llu (is the file truncated?)",
                        h->file, name, (unsigned long long)e->end, (unsigned long long)h->data_bytes);
    e->t.data = h->data + e->begin;
    return KVC_OK;
}

static kvc_status read_dtype(const header *h, const char *name, const json_t *value, entry *e, kvc_error *err)
{
    const char *dtype = json_string_value(value);
    if (!dtype) return fail_tensor(h, name, "\"dtype\" is no string", err);
    if (!strcmp(dtype, "F32")) {
        e->t.dtype = KVC_F32;
    } else if (!strcmp(dtype, "F16")) {
        e->t.dtype = KVC_F16;
    } else if (!strcmp(dtype, "BF16")) {
        e->t.dtype = KVC_BF16;
    } else {
        e->t.foreign = "a dtype other than F32, F16 and BF16";
    }
    unsigned bits = dtype_bits(dtype);
    uint64_t need;
    if (bits && (__builtin_mul_overflow(e->t.n, bits, &need) || need % 8 || need / 8 != e->end - e->begin))
        return kvc_fail(err, KVC_FORMAT, "%s: header: tensor '%.120s': %llu bytes do not fit %llu values of %s",
                        h->file, name, (unsigned long long)(e->end - e->begin), (unsigned long long)e->t.n, dtype);
    return KVC_OK;
}

static kvc_status read_entry(header *h, const char *name, const json_t *value, kvc_error *err)
{
    entry *e = &h->entries[h->n];
    if (!tensor_name_is_printable(name))
        return kvc_fail(err, KVC_FORMAT, "%s: header: a tensor's name holds control characters", h->file);
    if (!json_is_object(value)) return fail_tensor(h, name, "is no object", err);
    KVC_TRY(read_shape(h, name, json_object_get(value, "shape"), &e->t, err));
    KVC_TRY(read_offsets(h, name, json_object_get(value, "data_offsets"), e, err));
    KVC_TRY(read_dtype(h, name, json_object_get(value, "dtype"), e, err));
    e->t.file = h->file;
    e->t.name = strdup(name);
    if (!e->t.name) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", h->file);
    h->n++;
    return KVC_OK;
}

static kvc_status check_metadata(const header *h, json_t *metadata, kvc_error *err)
{
    if (!json_is_object(metadata))
        return kvc_fail(err, KVC_FORMAT, "%s: header: \"__metadata__\" is no object", h->file);
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value) if (!json_is_string(value)) return kvc_fail(
        err, KVC_FORMAT, "%s: header: \"__metadata__\" holds a value that is no string", h->file);
    return KVC_OK;
}

static kvc_status read_entries(header *h, json_t *root, kvc_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(root)) return kvc_fail(err, KVC_FORMAT, "%s: header: is no JSON object", h->file);
    h->entries = calloc(json_object_size(root) + 1, sizeof *h->entries);
    if (!h->entries) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", h->file);
    json_object_foreach(root, key, value)
    {
        bool metadata = !strcmp(key, "__metadata__");
        KVC_TRY(metadata ? check_metadata(h, value, err) : read_entry(h, key, value, err));
    }
    return KVC_OK;
}

static int by_offset(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static kvc_status check_cover(header *h, kvc_error *err)
{
    uint64_t at = 0;
    qsort(h->entries, h->n, sizeof *h->entries, by_offset);
    for (size_t i = 0; i < h->n; i++) {
        const entry *e = &h->entries[i];
        if (e->begin != at)
            return kvc_fail(err, KVC_FORMAT, "%s: tensor '%.120s': %s: data starts at byte %llu, expected %llu",
                            h->file, e->t.name, e->begin < at ? "overlap" : "hole", (unsigned long long)e->begin,
                            (unsigned long long)at);
        at = e->end;
    }
    if (at == h->data_bytes) return KVC_OK;
    return kvc_fail(err, KVC_FORMAT, "%s: the last tensor ends at byte %llu of the data, which has %llu", h->file,
                    (unsigned long long)at, (unsigned long long)h->data_bytes);
}

/* Hand the entries' tensors over to w. */
static kvc_status append(weights *w, header *h, kvc_error *err)
{
    tensor *larger = realloc(w->tensors, (w->n + h->n + 1) * sizeof *larger);
    if (!larger) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", h->file);
    w->tensors = larger;
    for (size_t i = 0; i < h->n; i++) larger[w->n++] = h->entries[i].t;
    h->n = 0;
    return KVC_OK;
}

static kvc_status locate(const weights_file *file, header *h, size_t *json_bytes, kvc_error *err)
{
    const file_map *map = &file->map;
    if (map->n >= 4 && !memcmp(map->bytes, "GGUF", 4))
        return kvc_fail(err, KVC_UNSUPPORTED, "%s: is a GGUF file; 'kvcalib import' turns it into a folder",
                        file->path);
    if (map->n < 8) return kvc_fail(err, KVC_FORMAT, "%s: %zu bytes are no safetensors file", file->path, map->n);
    uint64_t n = little_endian(map->bytes);
    if (n > SAFETENSORS_MAX_HEADER)
        return kvc_fail(err, KVC_FORMAT, "%s: offset 0: a header of %llu bytes (no safetensors file?)", file->path,
                        (unsigned long long)n);
    if (n > map->n - 8)
        return kvc_fail(err, KVC_FORMAT, "%s: offset 8: the header of %llu bytes goes past the end (truncated?)",
                        file->path, (unsigned long long)n);
    *h = (header){.file = file->path, .data = map->bytes + 8 + n, .data_bytes = map->n - 8 - n};
    *json_bytes = (size_t)n;
    return KVC_OK;
}

kvc_status safetensors_parse(weights *w, const weights_file *file, kvc_error *err)
{
    header h = {0};
    size_t json_bytes = 0;
    json_t *root = NULL;
    KVC_TRY(locate(file, &h, &json_bytes, err));
    char *what = NULL;
    if (asprintf(&what, "%s: header", file->path) < 0)
        return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", file->path);
    kvc_status status = json_read_text(&root, (const char *)file->map.bytes + 8, json_bytes, what, err);
    free(what);
    if (status == KVC_OK) status = read_entries(&h, root, err);
    if (status == KVC_OK) status = check_cover(&h, err);
    if (status == KVC_OK) status = append(w, &h, err);
    json_decref(root);
    for (size_t i = 0; i < h.n; i++) free((char *)h.entries[i].t.name);
    free(h.entries);
    return status;
}
