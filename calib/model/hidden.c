/* hidden.c - the residual stream of all tokens: in a backend's memory, in the host's, or in an unlinked temporary
 * file. The file is written with pwrite: a full disk is KVC_IO at the write, never a signal as with a map. */
#include "model_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct hidden_states {
    size_t n_tokens, row_bytes;
    backend *b;    /* of device; may be NULL where that is */
    float *device; /* rows in the backend's memory, else NULL */
    float *rows;   /* in the host's, else NULL */
    int file;      /* -1: in memory */
    char folder[256];
};

static kvc_status open_spill(hidden_states *h, const char *folder, kvc_error *err)
{
    char path[512];
    const char *temporary = getenv("TMPDIR");
    if (!folder) folder = temporary && *temporary ? temporary : "/tmp";
    snprintf(h->folder, sizeof h->folder, "%s", folder);
    int n = snprintf(path, sizeof path, "%s/kvcalib-hidden-XXXXXX", folder);
    if (n < 0 || (size_t)n >= sizeof path) return kvc_fail(err, KVC_IO, "%.100s...: the path is too long", folder);
    h->file = mkstemp(path);
    if (h->file < 0) return kvc_fail(err, KVC_IO, "%s: cannot create a temporary file: %s", folder, strerror(errno));
    unlink(path);
    return KVC_OK;
}

bool hidden_on_device(const backend *b, size_t room, uint64_t bytes, uint64_t memory_limit)
{
    if (!b) return false;
    if (room == SIZE_MAX) return memory_limit == 0 || bytes <= memory_limit;
    return bytes <= room / 2;
}

static kvc_status open_storage(hidden_states *h, uint64_t memory_limit, const char *folder, kvc_error *err)
{
    if (h->row_bytes && h->n_tokens > SIZE_MAX / h->row_bytes)
        return kvc_fail(err, KVC_NO_MEMORY, "hidden states of %zu tokens exceed the address space", h->n_tokens);
    size_t bytes = h->n_tokens * h->row_bytes;
    if (h->b && hidden_on_device(h->b, h->b->room(h->b), bytes, memory_limit))
        return h->b->buffer_new(h->b, bytes, (void **)&h->device, err);
    if (memory_limit && bytes > memory_limit) return open_spill(h, folder, err);
    h->rows = malloc(bytes ? bytes : 1);
    return h->rows ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for hidden states of %zu bytes", bytes);
}

kvc_status hidden_new(hidden_states **out, backend *b, size_t n_tokens, uint32_t width, uint64_t memory_limit,
                      const char *spill_folder, kvc_error *err)
{
    hidden_states *h = *out = calloc(1, sizeof *h);
    if (!h) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for hidden states");
    h->b = b;
    h->n_tokens = n_tokens;
    h->row_bytes = width * sizeof(float);
    h->file = -1;
    kvc_status status = open_storage(h, memory_limit, spill_folder, err);
    if (status != KVC_OK) {
        hidden_free(h);
        *out = NULL;
    }
    return status;
}

void hidden_free(hidden_states *h)
{
    if (!h) return;
    if (h->file >= 0) close(h->file);
    if (h->device) h->b->buffer_free(h->b, h->device);
    free(h->rows);
    free(h);
}

static float *row_at(const hidden_states *h, float *rows, size_t first)
{
    return rows ? rows + first * (h->row_bytes / sizeof(float)) : NULL;
}

float *hidden_device(hidden_states *h, size_t first)
{
    return row_at(h, h->device, first);
}

float *hidden_rows(hidden_states *h, size_t first)
{
    return row_at(h, h->rows, first);
}

static kvc_status check_range(const hidden_states *h, size_t first, size_t n, kvc_error *err)
{
    if (first <= h->n_tokens && n <= h->n_tokens - first) return KVC_OK;
    return kvc_fail(err, KVC_INVALID, "hidden states of %zu tokens hold no rows %zu to %zu", h->n_tokens, first,
                    first + n);
}

kvc_status hidden_read(hidden_states *h, size_t first, size_t n, float *dst, kvc_error *err)
{
    KVC_TRY(check_range(h, first, n, err));
    if (h->device) {
        KVC_TRY(h->b->download(h->b, dst, hidden_device(h, first), n * h->row_bytes, err));
        return h->b->sync(h->b, err);
    }
    if (h->rows) {
        memcpy(dst, hidden_rows(h, first), n * h->row_bytes);
        return KVC_OK;
    }
    char *to = (char *)dst;
    for (size_t at = first * h->row_bytes, end = at + n * h->row_bytes; at < end;) {
        ssize_t got = pread(h->file, to, end - at, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return kvc_fail(err, KVC_IO, "%s: cannot read back hidden states: %s", h->folder,
                            got ? strerror(errno) : "the file ends early");
        at += (size_t)got;
        to += got;
    }
    return KVC_OK;
}

kvc_status hidden_write(hidden_states *h, size_t first, size_t n, const float *src, kvc_error *err)
{
    KVC_TRY(check_range(h, first, n, err));
    if (h->device) return h->b->upload(h->b, hidden_device(h, first), src, n * h->row_bytes, err);
    if (h->rows) {
        memcpy(hidden_rows(h, first), src, n * h->row_bytes);
        return KVC_OK;
    }
    const char *from = (const char *)src;
    for (size_t at = first * h->row_bytes, end = at + n * h->row_bytes; at < end;) {
        ssize_t put = pwrite(h->file, from, end - at, (off_t)at);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0)
            return kvc_fail(err, KVC_IO, "%s: cannot write hidden states: %s", h->folder,
                            put ? strerror(errno) : "nothing was written");
        at += (size_t)put;
        from += put;
    }
    return KVC_OK;
}

kvc_status hidden_gather(hidden_states *to, hidden_states *from, const size_t *rows, size_t n, kvc_error *err)
{
    if (to->device && from->device)
        return to->b->gather_rows(to->b, n, from->row_bytes / sizeof(float), from->device, rows, to->device, err);
    float *row = malloc(from->row_bytes);
    kvc_status status = row ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for hidden states");
    for (size_t i = 0; i < n && status == KVC_OK; i++) {
        status = hidden_read(from, rows[i], 1, row, err);
        if (status == KVC_OK) status = hidden_write(to, i, 1, row, err);
    }
    free(row);
    return status;
}

kvc_status hidden_copy(hidden_states *to, size_t first, hidden_states *from, size_t n, kvc_error *err)
{
    enum { CHUNK = 1 << 20 };
    KVC_TRY(check_range(to, first, n, err));
    KVC_TRY(check_range(from, 0, n, err));
    if (to->device && from->device)
        return to->b->copy(to->b, hidden_device(to, first), from->device, n * from->row_bytes, err);
    size_t most = from->row_bytes < CHUNK ? CHUNK / from->row_bytes : 1;
    float *rows = malloc(most * from->row_bytes);
    kvc_status status = rows ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for hidden states");
    for (size_t at = 0; at < n && status == KVC_OK; at += most) {
        size_t count = min_size(most, n - at);
        status = hidden_read(from, at, count, rows, err);
        if (status == KVC_OK) status = hidden_write(to, first + at, count, rows, err);
    }
    free(rows);
    return status;
}
