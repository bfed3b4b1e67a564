/* weights.c - look up, release and hash the tensors of an open model. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sha256.h"
#include "weights_private.h"

const char *weights_folder(const weights *w)
{
    return w->folder;
}
size_t weights_count(const weights *w)
{
    return w->n;
}
const tensor *weights_at(const weights *w, size_t i)
{
    return &w->tensors[i];
}

uint64_t weights_bytes(const weights *w)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < w->n_files; i++) sum += w->files[i].map.n;
    return sum;
}

static int compare_name(const void *key, const void *element)
{
    return strcmp(key, ((const tensor *)element)->name);
}

const tensor *weights_find(const weights *w, const char *name)
{
    return w->n ? bsearch(name, w->tensors, w->n, sizeof *w->tensors, compare_name) : NULL;
}

static void format_shape(const tensor *t, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "[");
    for (uint32_t i = 0; i < t->rank; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%llu", i ? ", " : "", (unsigned long long)t->shape[i]);
    snprintf(out + n, size - n, "]");
}

static kvc_status fail_shape(const tensor *t, uint64_t rows, uint64_t cols, kvc_error *err)
{
    tensor wanted = {.rank = cols ? 2 : 1, .shape = {rows, cols}};
    char is[96], should[96];
    format_shape(t, is, sizeof is);
    format_shape(&wanted, should, sizeof should);
    return kvc_fail(err, KVC_FORMAT, "%s: tensor '%.120s' has shape %s, expected %s", t->file, t->name, is, should);
}

kvc_status weights_get(const weights *w, const char *name, uint64_t rows, uint64_t cols, const tensor **out,
                       kvc_error *err)
{
    *out = NULL;
    const tensor *t = weights_find(w, name);
    if (!t) {
        const char *where = w->n_files == 1 ? w->files[0].path : w->folder;
        return kvc_fail(err, KVC_FORMAT, "%s: has no tensor '%s'", where, name);
    }
    if (t->foreign) return kvc_fail(err, KVC_FORMAT, "%s: tensor '%.120s' has %s", t->file, name, t->foreign);
    if (t->rank != (cols ? 2u : 1u) || t->shape[0] != rows || (cols && t->shape[1] != cols))
        return fail_shape(t, rows, cols, err);
    *out = t;
    return KVC_OK;
}

static const weights_file *file_of(const weights *w, const tensor *t)
{
    for (size_t i = 0; i < w->n_files; i++)
        if (t->file == w->files[i].path) return &w->files[i];
    return NULL;
}

void weights_release(const weights *w, const tensor *t)
{
    const weights_file *file = file_of(w, t);
    if (!file || t->foreign) return;
    const uint8_t *begin = t->data;
    file_map_release(&file->map, begin, begin + t->n * dtype_bytes(t->dtype));
}

/* In pieces that are let go of at once, so that hashing a model does not fill memory with it. */
static kvc_status hash_file(const weights_file *file, uint8_t out[32], kvc_error *err)
{
    enum { PIECE = 4 << 20 };
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);
    for (size_t at = 0; ok && at < file->map.n; at += PIECE) {
        const uint8_t *begin = file->map.bytes + at;
        size_t n = file->map.n - at < PIECE ? file->map.n - at : PIECE;
        ok = EVP_DigestUpdate(context, begin, n);
        file_map_release(&file->map, begin, begin + n);
    }
    ok = ok && EVP_DigestFinal_ex(context, out, NULL);
    EVP_MD_CTX_free(context);
    return ok ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "%s: SHA-256 failed", file->path);
}

static kvc_status hash_list(const weights *w, char *text, uint8_t out[32], kvc_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_files; i++) {
        uint8_t hash[32];
        KVC_TRY(hash_file(&w->files[i], hash, err));
        sha256_hex(hash, text + n);
        n += 64;
        n += (size_t)sprintf(text + n, "  %s\n", w->files[i].name);
    }
    sha256_bytes(text, n, out);
    return KVC_OK;
}

kvc_status weights_sha256(const weights *w, uint8_t out[32], kvc_error *err)
{
    if (w->n_files == 1) return hash_file(&w->files[0], out, err);
    size_t room = 1;
    for (size_t i = 0; i < w->n_files; i++) room += 64 + strlen(w->files[i].name) + 3;
    char *text = malloc(room);
    if (!text) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", w->folder);
    kvc_status status = hash_list(w, text, out, err);
    free(text);
    return status;
}
