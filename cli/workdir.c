/* workdir.c - see workdir.h. */
#include "workdir.h"
#include "console.h"
#include "json.h"
#include "output.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FINGERPRINT "fingerprint.json"
#define MAX_FINGERPRINT (1 << 20)

void workdir_file(const workdir *w, const char *name, char *buf, size_t n)
{
    snprintf(buf, n, "%s/%s", w->path, name);
}

static bool holds(const workdir *w, const char *name)
{
    char path[4096];
    workdir_file(w, name, path, sizeof path);
    return access(path, F_OK) == 0;
}

static kvc_status choose_path(workdir *w, const settings *s, kvc_error *err)
{
    int n = s->workdir ? snprintf(w->path, sizeof w->path, "%s", s->workdir)
                       : snprintf(w->path, sizeof w->path, "%s.work", s->output);
    if (n > 0 && (size_t)n < sizeof w->path) return KVC_OK;
    return kvc_fail(err, KVC_INVALID, "the work directory's path is too long");
}

static kvc_status lock(workdir *w, kvc_error *err)
{
    if (mkdir(w->path, 0777) != 0 && errno != EEXIST)
        return kvc_fail(err, KVC_IO, "%s: the work directory cannot be made: %s", w->path, strerror(errno));
    w->lock = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->lock < 0)
        return kvc_fail(err, KVC_IO, "%s: the work directory cannot be opened: %s", w->path, strerror(errno));
    if (flock(w->lock, LOCK_EX | LOCK_NB) == 0) return KVC_OK;
    return kvc_fail(err, KVC_IO, "%s: another kvcalib works in this directory", w->path);
}

/* "the text", or for the recipe its first key that differs: "the recipe (probe_rows)". */
static void describe_difference(const json_t *then, const json_t *now, char *buf, size_t n)
{
    static const char *const parts[] = {"model", "tokenizer", "text", "recipe", "build", NULL};
    static const char *const names[] = {"model", "tokenizer", "text", "recipe", "build of kvcalib"};
    const char *key;
    json_t *value;
    size_t at = 0;
    while (parts[at] && json_equal(json_object_get(then, parts[at]), json_object_get(now, parts[at]))) at++;
    snprintf(buf, n, "another %s", parts[at] ? names[at] : "kind");
    if (!parts[at] || strcmp(parts[at], "recipe") != 0) return;
    json_object_foreach(json_object_get(now, "recipe"), key, value)
    {
        if (json_equal(json_object_get(json_object_get(then, "recipe"), key), value)) continue;
        snprintf(buf, n, "another recipe (%s)", key);
        return;
    }
}

static kvc_status check_same(const workdir *w, const json_t *fingerprint, kvc_error *err)
{
    char path[4096], what[128];
    json_t *saved = NULL;
    workdir_file(w, FINGERPRINT, path, sizeof path);
    KVC_TRY(json_read_file(&saved, path, MAX_FINGERPRINT, err));
    bool same = json_equal(saved, fingerprint);
    if (!same) describe_difference(saved, fingerprint, what, sizeof what);
    json_decref(saved);
    if (same) return KVC_OK;
    return kvc_fail(err, KVC_MISMATCH, "%s: made with %s; remove it or give another --workdir", w->path, what);
}

static kvc_status check_contents(const workdir *w, const settings *s, const json_t *fingerprint, kvc_error *err)
{
    bool known = holds(w, FINGERPRINT), unfinished = holds(w, "profile.partial.h5");
    if (!known && (holds(w, "profile.h5") || holds(w, "plan.yaml")))
        return kvc_fail(err, KVC_INVALID, "%s holds a profile.h5 or plan.yaml of its own: give another --workdir",
                        w->path);
    if (!s->resume) {
        if (!unfinished) return KVC_OK;
        return kvc_fail(err, KVC_INVALID,
                        "%s holds unfinished work: go on with --resume, or remove it, or give another --workdir",
                        w->path);
    }
    if (known) return check_same(w, fingerprint, err);
    if (unfinished)
        return kvc_fail(err, KVC_MISMATCH, "%s: %s is missing; cannot tell whose work this is", w->path, FINGERPRINT);
    console_note("%s holds nothing to resume; beginning", w->path);
    return KVC_OK;
}

static kvc_status save_fingerprint(const workdir *w, const json_t *fingerprint, kvc_error *err)
{
    char path[4096], *text = json_canonical(fingerprint);
    if (!text) return kvc_fail(err, KVC_NO_MEMORY, "out of memory");
    workdir_file(w, FINGERPRINT, path, sizeof path);
    kvc_status status = output_write(path, text, strlen(text), err);
    free(text);
    return status;
}

/* What a killed process left half-written (output.c names its temporary files so). */
static void remove_leftovers(const workdir *w)
{
    static const char *const patterns[] = {"hidden-*.bin.tmp-*", "profile*.h5.tmp-*",   "plan.yaml.tmp-*",
                                           "refine.jsonl.tmp-*", "kvtuner.jsonl.tmp-*", "policy.jsonl.tmp-*",
                                           FINGERPRINT ".tmp-*"};
    DIR *folder = opendir(w->path);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
            if (fnmatch(patterns[i], entry->d_name, 0) == 0) unlinkat(w->lock, entry->d_name, 0);
    if (folder) closedir(folder);
}

kvc_status workdir_open(workdir *out, const settings *s, const json_t *fingerprint, kvc_error *err)
{
    *out = (workdir){.lock = -1};
    KVC_TRY(choose_path(out, s, err));
    KVC_TRY(lock(out, err));
    KVC_TRY(check_contents(out, s, fingerprint, err));
    remove_leftovers(out);
    return save_fingerprint(out, fingerprint, err);
}

void workdir_close(workdir *w)
{
    if (w->lock >= 0) close(w->lock);
    w->lock = -1;
}

void workdir_remove(const workdir *w)
{
    char path[4096];
    workdir_file(w, FINGERPRINT, path, sizeof path);
    unlink(path);
    rmdir(w->path);
}
