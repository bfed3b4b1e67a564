/* checkpoint.c - see checkpoint.h. hidden-<layer>.bin: 128-byte header (struct below), then n_tokens * width floats.
 */
#include "checkpoint.h"
#include "output.h"
#include "score.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS 256 /* of the residual stream moved at a time */

typedef struct hidden_header {
    char magic[16]; /* "kvcalib-hidden1" */
    char fingerprint[80];
    uint64_t n_tokens;
    uint32_t width, layer;
    uint8_t zero[16];
} hidden_header;
_Static_assert(sizeof(hidden_header) == 128, "file layout");

static void hidden_path(char *buf, size_t n, const char *workdir, uint32_t layer)
{
    snprintf(buf, n, "%s/hidden-%u.bin", workdir, layer);
}

static void partial_path(char *buf, size_t n, const char *workdir)
{
    snprintf(buf, n, "%s/profile.partial.h5", workdir);
}

static hidden_header header_of(const profile *p, size_t n_tokens)
{
    hidden_header h = {
        .magic = "kvcalib-hidden1", .n_tokens = n_tokens, .width = p->model.hidden_size, .layer = p->layers_done};
    memcpy(h.fingerprint, p->fingerprint, sizeof p->fingerprint);
    return h;
}

static kvc_status save_hidden(const profile *p, hidden_states *hidden, size_t n_tokens, const char *workdir,
                              kvc_error *err)
{
    char path[4096];
    hidden_path(path, sizeof path, workdir, p->layers_done);
    size_t width = p->model.hidden_size;
    hidden_header header = header_of(p, n_tokens);
    float *rows = malloc(ROWS * width * sizeof *rows);
    output *o = NULL;
    kvc_status status;
    if (!rows) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a checkpoint");
    if ((status = output_open(&o, path, err))) goto done;
    if ((status = output_put(o, &header, sizeof header, err))) goto done;
    for (size_t i = 0; i < n_tokens; i += ROWS) {
        size_t n = n_tokens - i < ROWS ? n_tokens - i : ROWS;
        if ((status = hidden_read(hidden, i, n, rows, err))) goto done;
        if ((status = output_put(o, rows, n * width * sizeof *rows, err))) goto done;
    }
    status = output_commit(o, err);
    o = NULL;
done:
    output_discard(o);
    free(rows);
    return status;
}

static kvc_status load_hidden(const profile *p, hidden_states *hidden, size_t n_tokens, const char *workdir,
                              kvc_error *err)
{
    char path[4096];
    hidden_path(path, sizeof path, workdir, p->layers_done);
    size_t width = p->model.hidden_size;
    hidden_header want = header_of(p, n_tokens), got;
    kvc_status status = KVC_OK;
    float *rows = malloc(ROWS * width * sizeof *rows);
    FILE *f = fopen(path, "rb");
    if (!rows || !f) {
        status = rows ? kvc_fail(err, KVC_INPUT, "%s: %s", path, strerror(errno))
                      : kvc_fail(err, KVC_NO_MEMORY, "out of memory for a checkpoint");
        goto done;
    }
    if (fread(&got, sizeof got, 1, f) != 1 || memcmp(&got, &want, sizeof got) != 0) {
        status = kvc_fail(err, KVC_MISMATCH, "%s: does not belong to profile.partial.h5", path);
        goto done;
    }
    for (size_t i = 0; i < n_tokens; i += ROWS) {
        size_t n = n_tokens - i < ROWS ? n_tokens - i : ROWS;
        if (fread(rows, sizeof *rows, n * width, f) != n * width) {
            status = kvc_fail(err, KVC_FORMAT, "%s: ends before token %zu", path, i + n);
            goto done;
        }
        if ((status = hidden_write(hidden, i, n, rows, err))) goto done;
    }
done:
    if (f) fclose(f);
    free(rows);
    return status;
}

kvc_status checkpoint_save(const profile *p, hidden_states *hidden, size_t n_tokens, const char *workdir,
                           uint32_t previous, kvc_error *err)
{
    char path[4096];
    KVC_TRY(save_hidden(p, hidden, n_tokens, workdir, err));
    partial_path(path, sizeof path, workdir);
    KVC_TRY(profile_save(p, path, err));
    if (previous != UINT32_MAX && previous != p->layers_done) {
        hidden_path(path, sizeof path, workdir, previous);
        unlink(path);
    }
    return KVC_OK;
}

kvc_status checkpoint_load(profile *p, hidden_states *hidden, size_t n_tokens, const char *workdir, bool *found,
                           kvc_error *err)
{
    char path[4096];
    profile *saved = NULL;
    kvc_status status;
    partial_path(path, sizeof path, workdir);
    *found = access(path, F_OK) == 0;
    if (!*found) return KVC_OK;
    KVC_TRY(profile_load(&saved, path, err));
    kvc_error why;
    if (strcmp(saved->fingerprint, p->fingerprint) != 0)
        status = kvc_fail(err, KVC_MISMATCH, "%s: made from another model, text, recipe or build", path);
    else if ((status = profile_copy_measurements(p, saved, &why)))
        kvc_fail(err, status, "%s: %s", path, why.message);
    if (status == KVC_OK) status = load_hidden(p, hidden, n_tokens, workdir, err);
    profile_free(saved);
    return status;
}

kvc_status profile_keep_prices(const profile *p, const char *workdir, kvc_error *err)
{
    char path[4096];
    partial_path(path, sizeof path, workdir);
    return profile_save(p, path, err);
}

void profile_forget(const char *workdir, uint32_t n_layers)
{
    char path[4096];
    partial_path(path, sizeof path, workdir);
    unlink(path);
    for (uint32_t layer = 0; layer <= n_layers; layer++) {
        hidden_path(path, sizeof path, workdir, layer);
        unlink(path);
    }
}
