/* weights_write.c - a safetensors file, tensor after tensor. The header is padded with spaces so that data
 * starts at a multiple of 8; tensors follow each other in the order declared. */
#include <stdlib.h>
#include <string.h>
#include "json.h"
#include "output.h"
#include "weights_private.h"

struct weights_writer {
    output *out;
    char *path;
    uint64_t expected, written; /* bytes of data */
};

static json_t *describe(const tensor *t, uint64_t begin, uint64_t end)
{
    static const char *const names[] = {[KVC_F32] = "F32", [KVC_F16] = "F16", [KVC_BF16] = "BF16"};
    json_t *shape = json_array();
    for (uint32_t i = 0; i < t->rank; i++) json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", names[t->dtype], "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)end);
}

/* The header's JSON (owned: json_decref) and the number of data bytes; NULL if a tensor is unfit or memory is
 * short. */
static json_t *describe_all(const tensor *list, size_t n, uint64_t *data_bytes)
{
    json_t *root = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    uint64_t at = 0;
    for (size_t i = 0; root && i < n; i++) {
        uint64_t bytes = dtype_bytes(list[i].dtype);
        int failed = list[i].foreign || json_object_get(root, list[i].name);
        for (uint32_t d = 0; d < list[i].rank; d++) failed |= __builtin_mul_overflow(bytes, list[i].shape[d], &bytes);
        failed |= __builtin_add_overflow(at, bytes, &bytes) || bytes > INT64_MAX;
        if (failed || json_object_set_new(root, list[i].name, describe(&list[i], at, bytes))) {
            json_decref(root);
            root = NULL;
        }
        at = bytes;
    }
    *data_bytes = at;
    return root;
}

static kvc_status put_header(weights_writer *w, const json_t *root, kvc_error *err)
{
    char *text = json_dumps(root, JSON_COMPACT);
    if (!text) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", w->path);
    size_t n = strlen(text), padded = (n + 7) / 8 * 8;
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)padded >> 8 * i);
    kvc_status status = output_put(w->out, length, sizeof length, err);
    if (status == KVC_OK) status = output_put(w->out, text, n, err);
    if (status == KVC_OK) status = output_put(w->out, "        ", padded - n, err);
    free(text);
    return status;
}

kvc_status weights_create(weights_writer **out, const char *path, const tensor *list, size_t n, kvc_error *err)
{
    *out = NULL;
    weights_writer *w = calloc(1, sizeof *w);
    if (!w || !(w->path = strdup(path))) {
        free(w);
        return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", path);
    }
    json_t *root = describe_all(list, n, &w->expected);
    kvc_status status = root ? output_open(&w->out, path, err)
                             : kvc_fail(err, KVC_INVALID, "%s: the list of tensors is inconsistent", path);
    if (status == KVC_OK) status = put_header(w, root, err);
    json_decref(root);
    if (status == KVC_OK) {
        *out = w;
    } else {
        weights_abandon(w);
    }
    return status;
}

kvc_status weights_write(weights_writer *w, const void *data, size_t bytes, kvc_error *err)
{
    if (bytes > w->expected - w->written)
        return kvc_fail(err, KVC_INVALID, "%s: more data than was declared", w->path);
    w->written += bytes;
    return output_put(w->out, data, bytes, err);
}

kvc_status weights_finish(weights_writer *w, kvc_error *err)
{
    kvc_status status;
    if (w->written == w->expected) {
        status = output_commit(w->out, err);
        w->out = NULL;
    } else {
        status = kvc_fail(err, KVC_INVALID, "%s: %llu bytes of data, %llu were declared", w->path,
                          (unsigned long long)w->written, (unsigned long long)w->expected);
    }
    weights_abandon(w);
    return status;
}

void weights_abandon(weights_writer *w)
{
    if (!w) return;
    output_discard(w->out);
    free(w->path);
    free(w);
}
