/* weights_open.c - find and map the files behind a model's path; check an index against its shards. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "json.h"
#include "weights_private.h"

static kvc_status no_memory(const char *path, kvc_error *err)
{
    return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", path);
}

static bool ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && !strcmp(s + n - m, suffix);
}

/* Owned. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tensor *)a)->name, ((const tensor *)b)->name);
}

static kvc_status sort_tensors(weights *w, kvc_error *err)
{
    qsort(w->tensors, w->n, sizeof *w->tensors, by_name);
    for (size_t i = 1; i < w->n; i++)
        if (!by_name(&w->tensors[i - 1], &w->tensors[i]))
            return kvc_fail(err, KVC_FORMAT, "%s: tensor '%.120s' is in %s, too", w->tensors[i].file,
                            w->tensors[i].name, w->tensors[i - 1].file);
    return KVC_OK;
}

/* `path` is owned from here on; w->files has room. */
static kvc_status add_file(weights *w, char *path, kvc_error *err)
{
    weights_file *file = &w->files[w->n_files++];
    const char *slash = strrchr(path, '/');
    *file = (weights_file){.path = path, .name = slash ? slash + 1 : path};
    KVC_TRY(file_map_open(&file->map, path, err));
    return safetensors_parse(w, file, err);
}

static kvc_status open_single(weights *w, const char *path, kvc_error *err)
{
    char *copy = strdup(path);
    w->folder = folder_of(path);
    w->files = calloc(1, sizeof *w->files);
    if (!copy || !w->folder || !w->files) {
        free(copy);
        return no_memory(path, err);
    }
    KVC_TRY(add_file(w, copy, err));
    return sort_tensors(w, err);
}

/* A shard is a file beside the index: nothing else is opened on an index's word. */
static bool is_plain_name(const char *s)
{
    if (!*s || !strcmp(s, ".") || !strcmp(s, "..") || strpbrk(s, "/\\")) return false;
    for (; *s; s++)
        if ((unsigned char)*s < 0x20) return false;
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct shard names in order; borrowed from `map`. shards has room for every entry. */
static kvc_status list_shards(json_t *map, const char *path, const char **shards, size_t *n, kvc_error *err)
{
    const char *key;
    json_t *value;
    size_t all = 0;
    json_object_foreach(map, key, value)
    {
        const char *name = json_string_value(value);
        if (!tensor_name_is_printable(key))
            return kvc_fail(err, KVC_FORMAT, "%s: weight_map: a tensor's name has control characters", path);
        if (!name || !is_plain_name(name))
            return kvc_fail(err, KVC_FORMAT,
                            "%s: weight_map: '%.120s': the shard is not the name of a file beside the index", path,
                            key);
        shards[all++] = name;
    }
    qsort(shards, all, sizeof *shards, by_text);
    *n = 0;
    for (size_t i = 0; i < all; i++)
        if (!*n || strcmp(shards[*n - 1], shards[i])) shards[(*n)++] = shards[i];
    return KVC_OK;
}

static kvc_status open_shards(weights *w, const char **shards, size_t n, kvc_error *err)
{
    w->files = calloc(n, sizeof *w->files);
    if (!w->files) return no_memory(w->folder, err);
    for (size_t i = 0; i < n; i++) {
        char *path;
        if (asprintf(&path, "%s/%s", w->folder, shards[i]) < 0) return no_memory(w->folder, err);
        KVC_TRY(add_file(w, path, err));
    }
    return sort_tensors(w, err);
}

/* Every tensor is where the index says, and the index knows every tensor. */
static kvc_status check_index(const weights *w, json_t *map, const char *path, kvc_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(map, key, value)
    {
        const tensor *t = weights_find(w, key);
        const char *slash = t ? strrchr(t->file, '/') : NULL;
        if (!slash || strcmp(slash + 1, json_string_value(value)))
            return kvc_fail(err, KVC_FORMAT, "%s: weight_map: tensor '%.120s' is not in %s", path, key,
                            json_string_value(value));
    }
    for (size_t i = 0; i < w->n; i++)
        if (!json_object_get(map, w->tensors[i].name))
            return kvc_fail(err, KVC_FORMAT, "%s: tensor '%.120s' is not in the weight_map of %s", w->tensors[i].file,
                            w->tensors[i].name, path);
    return KVC_OK;
}

static kvc_status open_mapped(weights *w, json_t *map, const char *path, kvc_error *err)
{
    if (!json_is_object(map) || !json_object_size(map))
        return kvc_fail(err, KVC_FORMAT, "%s: \"weight_map\" is no object with entries", path);
    const char **shards = calloc(json_object_size(map), sizeof *shards);
    if (!shards) return no_memory(path, err);
    size_t n = 0;
    kvc_status status = list_shards(map, path, shards, &n, err);
    if (status == KVC_OK) status = open_shards(w, shards, n, err);
    if (status == KVC_OK) status = check_index(w, map, path, err);
    free(shards);
    return status;
}

static kvc_status open_index(weights *w, const char *path, kvc_error *err)
{
    json_t *root;
    w->folder = folder_of(path);
    if (!w->folder) return no_memory(path, err);
    KVC_TRY(json_read_file(&root, path, SAFETENSORS_MAX_HEADER, err));
    kvc_status status = open_mapped(w, json_object_get(root, "weight_map"), path, err);
    json_decref(root);
    return status;
}

static kvc_status open_folder(weights *w, const char *path, kvc_error *err)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"};
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    for (int i = 0; i < 2; i++) {
        char *inside;
        if (asprintf(&inside, "%.*s/%s", (int)n, path, names[i]) < 0) return no_memory(path, err);
        bool found = access(inside, F_OK) == 0;
        kvc_status status = KVC_OK;
        if (found) status = i ? open_index(w, inside, err) : open_single(w, inside, err);
        free(inside);
        if (found) return status;
    }
    return kvc_fail(err, KVC_INPUT, "%s: holds neither %s nor %s", path, names[0], names[1]);
}

kvc_status weights_open(weights **out, const char *path, kvc_error *err)
{
    struct stat st;
    *out = NULL;
    if (stat(path, &st)) return kvc_fail(err, KVC_INPUT, "%s: %s", path, strerror(errno));
    weights *w = calloc(1, sizeof *w);
    if (!w) return no_memory(path, err);
    kvc_status status;
    if (S_ISDIR(st.st_mode)) {
        status = open_folder(w, path, err);
    } else {
        status = ends_with(path, ".json") ? open_index(w, path, err) : open_single(w, path, err);
    }
    if (status == KVC_OK) {
        *out = w;
    } else {
        weights_close(w);
    }
    return status;
}

void weights_close(weights *w)
{
    if (!w) return;
    for (size_t i = 0; i < w->n; i++) free((char *)w->tensors[i].name);
    for (size_t i = 0; i < w->n_files; i++) {
        file_map_close(&w->files[i].map);
        free(w->files[i].path);
    }
    free(w->tensors);
    free(w->files);
    free(w->folder);
    free(w);
}
