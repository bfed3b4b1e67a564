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

static kvc_status put(output *o, const char *path, const void *bytes, size_t n, kvc_error *err)
{
    if (fwrite(bytes, 1, n, output_stream(o)) == n) return KVC_OK;
    return kvc_fail(err, KVC_IO, "%s: cannot be written: %s", path, strerror(errno));
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
    if ((status = put(o, path, &header, sizeof header, err))) goto done;
    for (size_t i = 0; i < n_tokens; i += ROWS) {
        size_t n = n_tokens - i < ROWS ? n_tokens - i : ROWS;
        if ((status = hidden_read(hidden, i, n, rows, err))) goto done;
        if ((status = put(o, path, rows, n * width * sizeof *rows, err))) goto done;
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

static void copy_losses(profile *to, const profile *from)
{
    size_t L = to->n_layers, K = to->n_keys, V = to->n_values, d = to->model.head_dim;
    size_t kv = L * to->model.n_kv_heads * d, q = L * to->model.n_query_heads * d;
    struct {
        double *to, *from;
        size_t n;
    } arrays[] = {
        {to->e_k, from->e_k, L * K},
        {to->e_v, from->e_v, L * V},
        {to->e_a, from->e_a, L * K},
        {to->e_o, from->e_o, L * K * V},
        {to->key_loss, from->key_loss, L * K},
        {to->value_loss, from->value_loss, L * V},
        {to->output_power, from->output_power, L},
        {to->residual_power, from->residual_power, L},
        {to->key_mean, from->key_mean, kv},
        {to->key_rms, from->key_rms, kv},
        {to->key_min, from->key_min, kv},
        {to->key_max, from->key_max, kv},
        {to->value_mean, from->value_mean, kv},
        {to->value_rms, from->value_rms, kv},
        {to->value_min, from->value_min, kv},
        {to->value_max, from->value_max, kv},
        {to->query_rms, from->query_rms, q},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        memcpy(arrays[i].to, arrays[i].from, arrays[i].n * sizeof(double));
    to->layers_done = from->layers_done;
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
    if (strcmp(saved->fingerprint, p->fingerprint) != 0 || saved->n_layers != p->n_layers ||
        saved->n_keys != p->n_keys || saved->n_values != p->n_values) {
        status = kvc_fail(err, KVC_MISMATCH, "%s: made from another model, text, recipe or build", path);
        goto done;
    }
    copy_losses(p, saved);
    status = load_hidden(p, hidden, n_tokens, workdir, err);
done:
    profile_free(saved);
    return status;
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
