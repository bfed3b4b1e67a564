/* gguf_import.c - a GGUF file into a model folder. All is parsed and checked before the first file is made;
 * all files are written beside their names and renamed at the end, the weights last, so that a folder with
 * weights is whole. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "file_map.h"
#include "gguf.h"
#include "gguf_private.h"
#include "output.h"

enum { N_TEXTS = 4 };
static const char *const text_names[N_TEXTS] = {"config.json", "tokenizer.json", "tokenizer_config.json",
                                                "generation_config.json"};

/* Everything but the values. */
typedef struct translation {
    gguf g;
    model_config shape;
    gguf_plan plan;
    json_t *texts[N_TEXTS];
} translation;

static void translation_free(translation *t)
{
    for (int i = 0; i < N_TEXTS; i++) json_decref(t->texts[i]);
    free(t->plan.entries);
    gguf_free(&t->g);
}

static kvc_status translate(translation *t, const char *path, const void *bytes, size_t n, kvc_dtype dtype,
                            kvc_error *err)
{
    memset(t, 0, sizeof *t);
    kvc_status status = gguf_parse(&t->g, path, bytes, n, err);
    if (status == KVC_OK) status = gguf_read_config(&t->g, dtype, &t->shape, &t->texts[0], err);
    if (status == KVC_OK) status = gguf_make_plan(&t->plan, &t->g, &t->shape, err);
    if (status == KVC_OK) status = gguf_read_tokenizer(&t->g, t->shape.vocab, &t->texts[1], err);
    if (status == KVC_OK) status = gguf_read_tokenizer_config(&t->g, &t->shape, &t->texts[2], err);
    if (status == KVC_OK) status = gguf_read_generation_config(&t->g, t->shape.vocab, &t->texts[3], err);
    if (status != KVC_OK) translation_free(t);
    return status;
}

kvc_status gguf_check_memory(const void *bytes, size_t n, kvc_error *err)
{
    translation t;
    KVC_TRY(translate(&t, "(memory)", bytes, n, KVC_F16, err));
    translation_free(&t);
    return KVC_OK;
}

/* Owned: free(). NULL without memory. */
static char *path_in(const char *folder, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

static kvc_status write_text(output **out, const char *folder, const char *name, const json_t *text, kvc_error *err)
{
    char *path = path_in(folder, name);
    if (!path) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", folder);
    kvc_status status = output_open(out, path, err);
    if (status == KVC_OK && (json_dumpf(text, output_stream(*out), JSON_INDENT(2) | JSON_REAL_PRECISION(15)) ||
                             fputc('\n', output_stream(*out)) == EOF))
        status = kvc_fail(err, KVC_IO, "%s: cannot be written: %s", path, strerror(errno));
    free(path);
    return status;
}

static kvc_status open_weights(weights_writer **out, const translation *t, const char *folder, kvc_dtype dtype,
                               kvc_error *err)
{
    char *path = path_in(folder, "model.safetensors");
    tensor *list = calloc(t->plan.n, sizeof *list);
    kvc_status status = path && list ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", folder);
    for (size_t i = 0; status == KVC_OK && i < t->plan.n; i++) {
        const gguf_plan_entry *e = &t->plan.entries[i];
        list[i] = (tensor){.name = e->name, .dtype = dtype, .rank = e->source->rank};
        list[i].shape[0] = e->source->rank == 2 ? e->source->rows : e->source->cols;
        if (e->source->rank == 2) list[i].shape[1] = e->source->cols;
    }
    if (status == KVC_OK) status = weights_create(out, path, list, t->plan.n, err);
    free(list);
    free(path);
    return status;
}

static kvc_status write_weights(weights_writer *w, const translation *t, const file_map *map, kvc_dtype dtype,
                                const job *job, kvc_error *err)
{
    for (size_t i = 0; i < t->plan.n; i++) {
        const gguf_tensor *source = t->plan.entries[i].source;
        if (job_cancelled(job)) return kvc_fail(err, KVC_INTERRUPTED, "%s: import interrupted", t->g.path);
        job_progress(job, "import", (double)i, (double)t->plan.n);
        KVC_TRY(gguf_convert(&t->g, &t->plan.entries[i], dtype, w, err));
        file_map_release(map, source->data, source->data + source->rows * source->row_bytes);
    }
    job_progress(job, "import", (double)t->plan.n, (double)t->plan.n);
    return KVC_OK;
}

/* Consumes the outputs in any case. */
static kvc_status commit(output **texts, weights_writer *w, kvc_error *err)
{
    kvc_status status = KVC_OK;
    for (int i = 0; i < N_TEXTS; i++) {
        if (status == KVC_OK) {
            status = output_commit(texts[i], err);
        } else {
            output_discard(texts[i]);
        }
    }
    if (status == KVC_OK) return weights_finish(w, err);
    weights_abandon(w);
    return status;
}

static kvc_status write_folder(const translation *t, const file_map *map, const char *folder, kvc_dtype dtype,
                               const job *job, kvc_error *err)
{
    output *texts[N_TEXTS] = {NULL};
    weights_writer *w = NULL;
    kvc_status status = KVC_OK;
    for (int i = 0; i < N_TEXTS && status == KVC_OK; i++)
        status = write_text(&texts[i], folder, text_names[i], t->texts[i], err);
    if (status == KVC_OK) status = open_weights(&w, t, folder, dtype, err);
    if (status == KVC_OK) status = write_weights(w, t, map, dtype, job, err);
    if (status == KVC_OK) return commit(texts, w, err);
    for (int i = 0; i < N_TEXTS; i++) output_discard(texts[i]);
    weights_abandon(w);
    return status;
}

/* A folder that this import made, with what was renamed into it before the failure. */
static void remove_folder(const char *folder)
{
    for (int i = 0; i < N_TEXTS; i++) {
        char *path = path_in(folder, text_names[i]);
        if (path) unlink(path);
        free(path);
    }
    rmdir(folder);
}

static kvc_status make_folder(const char *folder, bool *made, kvc_error *err)
{
    struct stat st;
    *made = mkdir(folder, 0777) == 0;
    if (*made || (errno == EEXIST && stat(folder, &st) == 0 && S_ISDIR(st.st_mode))) return KVC_OK;
    return kvc_fail(err, KVC_IO, "%s: %s", folder, errno == EEXIST ? "exists and is no folder" : strerror(errno));
}

kvc_status gguf_import(const char *path, const char *folder, kvc_dtype dtype, const job *job, kvc_error *err)
{
    file_map map;
    translation t;
    bool made = false;
    KVC_TRY(file_map_open(&map, path, err));
    kvc_status status = translate(&t, path, map.bytes, map.n, dtype, err);
    if (status == KVC_OK) {
        status = make_folder(folder, &made, err);
        if (status == KVC_OK) status = write_folder(&t, &map, folder, dtype, job, err);
        if (status != KVC_OK && made) remove_folder(folder);
        translation_free(&t);
    }
    file_map_close(&map);
    return status;
}
