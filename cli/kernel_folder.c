/* kernel_folder.c - see kernel_folder.h.
 *
 *     DIR/source/...          the template's files, and a header of parameters for each kernel
 *     DIR/NAME.fatbin         (by nvcc) or .cubin (by NVRTC): the image of a kernel
 *     DIR/kernels.list        which image serves which layer, for libkvc_cuda
 *     DIR/manifest.json       both are taken away before the first image changes, written when all are there */
#include "kernel_folder.h"
#include "console.h"
#include "kernel_build.h"
#include "kernel_list.h"
#include "kernel_manifest.h"
#include "kernel_source.h"
#include "kernel_template.h"
#include "output_check.h"
#include "sha256.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_MANIFEST ((size_t)1 << 26)

typedef struct folder {
    const char *path;
    const uint8_t *identity; /* of the configuration */
    kernel_plan plan;
    kernel_manifest last;
    char **params;        /* [n_kernels] texts of headers */
    kernel_image *images; /* [n_kernels] */
    kernel_job *jobs;     /* [n_jobs]: those that are not up to date */
    uint32_t *of_job;     /* [n_jobs]: index of the kernel */
    uint32_t n_jobs, n_done;
    const kernel_compiler *compiler;
} folder;

/* ---- files ---- */

static kvc_status place(char out[4096], const char *folder, const char *name, kvc_error *err)
{
    if ((size_t)snprintf(out, 4096, "%s/%s", folder, name) < 4096) return KVC_OK;
    return kvc_fail(err, KVC_INVALID, "--kernels: the path is too long: %.64s...", folder);
}

static kvc_status make_folder(const char *path, kvc_error *err)
{
    struct stat st;
    if (mkdir(path, 0777) == 0) return KVC_OK;
    int cause = errno;
    if (cause == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return KVC_OK;
    return kvc_fail(err, KVC_IO, "%s: cannot be made: %s", path, strerror(cause));
}

static kvc_status make_folders(const char *folder, kvc_error *err)
{
    static const char *const below[] = {"source", "source/fragment", "source/template"};
    char path[4096];
    KVC_TRY(make_folder(folder, err));
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        KVC_TRY(place(path, folder, below[i], err));
        KVC_TRY(make_folder(path, err));
    }
    return KVC_OK;
}

/* A file that holds these bytes already is left alone. */
static kvc_status write_different(const char *folder, const char *name, const void *bytes, size_t n, kvc_error *err)
{
    char path[4096], *there;
    size_t n_there;
    KVC_TRY(place(path, folder, name, err));
    if (input_read(&there, &n_there, path, n, NULL) == KVC_OK) {
        bool same = n_there == n && memcmp(there, bytes, n) == 0;
        free(there);
        if (same) return KVC_OK;
    }
    return output_write(path, bytes, n, err);
}

static kvc_status write_sources(folder *f, kvc_error *err)
{
    char name[256];
    const kernel_template_file *file;
    for (size_t i = 0; (file = kernel_template_get(i)); i++) {
        snprintf(name, sizeof name, "source/%s", file->path);
        KVC_TRY(write_different(f->path, name, file->text, file->bytes, err));
    }
    for (uint32_t i = 0; i < f->plan.n_kernels; i++) {
        snprintf(name, sizeof name, "source/%s.h", f->plan.kernels[i].name);
        KVC_TRY(write_different(f->path, name, f->params[i], strlen(f->params[i]), err));
    }
    return KVC_OK;
}

/* ---- what is up to date ---- */

static void hash_text(const void *bytes, size_t n, char out[65])
{
    uint8_t hash[32];
    sha256_bytes(bytes, n, hash);
    sha256_hex(hash, out);
}

static kvc_status read_manifest(folder *f, kvc_error *err)
{
    char path[4096], *text;
    size_t n;
    KVC_TRY(place(path, f->path, "manifest.json", err));
    if (input_read(&text, &n, path, MOST_MANIFEST, NULL) != KVC_OK) return KVC_OK;
    kvc_status status = kernel_manifest_read(&f->last, text, n, err);
    free(text);
    return status;
}

static bool is_fresh(const folder *f, const kernel_image *last, const char *params)
{
    char path[4096], hex[65];
    uint8_t hash[32];
    if (!last || strcmp(f->last.arch, f->plan.target->name) != 0 || strcmp(last->params, params) != 0) return false;
    if (place(path, f->path, last->file, NULL) || sha256_file(path, hash, NULL)) return false;
    sha256_hex(hash, hex);
    return strcmp(hex, last->sha256) == 0;
}

static kvc_status prepare(folder *f, kvc_error *err)
{
    uint32_t n = f->plan.n_kernels;
    f->params = calloc(n, sizeof *f->params);
    f->images = calloc(n, sizeof *f->images);
    f->jobs = calloc(n, sizeof *f->jobs);
    f->of_job = calloc(n, sizeof *f->of_job);
    bool all = f->params && f->images && f->jobs && f->of_job;
    for (uint32_t i = 0; all && i < n; i++)
        all = (f->params[i] = kernel_source(&f->plan.kernels[i], kernel_template_hash)) != NULL;
    return all ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "no memory for %u kernels", n);
}

static void find_jobs(folder *f)
{
    for (uint32_t i = 0; i < f->plan.n_kernels; i++) {
        kernel_image *image = &f->images[i];
        const char *name = f->plan.kernels[i].name;
        const kernel_image *last = kernel_manifest_find(&f->last, name);
        hash_text(f->params[i], strlen(f->params[i]), image->params);
        if (is_fresh(f, last, image->params)) {
            *image = *last;
            continue;
        }
        snprintf(image->name, sizeof image->name, "%s", name);
        f->of_job[f->n_jobs] = i;
        f->jobs[f->n_jobs++] = (kernel_job){name, f->params[i]};
    }
}

/* ---- images ---- */

static kvc_status take(void *context, uint32_t job, const void *bytes, size_t n, kvc_error *err)
{
    folder *f = context;
    kernel_image *image = &f->images[f->of_job[job]];
    char path[4096];
    snprintf(image->file, sizeof image->file, "%.127s.%s", image->name, kernel_compiler_ending(f->compiler));
    hash_text(bytes, n, image->sha256);
    KVC_TRY(place(path, f->path, image->file, err));
    KVC_TRY(output_write(path, bytes, n, err));
    console_note("%s: %zu bytes", image->file, n);
    job_progress(console_job(), "kernels", ++f->n_done, f->n_jobs);
    return KVC_OK;
}

static bool cancelled(void *unused)
{
    (void)unused;
    return job_cancelled(console_job());
}

static kvc_status build(folder *f, const settings *s, kvc_error *err)
{
    char sources[4096];
    long n = s->threads ? (long)s->threads : sysconf(_SC_NPROCESSORS_ONLN);
    KVC_TRY(place(sources, f->path, "source", err));
    const kernel_build_options options = {.folder = sources,
                                          .target = f->plan.target,
                                          .n_parallel = n > 0 ? (uint32_t)n : 1,
                                          .take = take,
                                          .cancelled = cancelled,
                                          .context = f};
    console_detail("kernels: %u for %s by %s", f->n_jobs, f->plan.target->name, kernel_compiler_text(f->compiler));
    console_units("kernels", f->n_jobs);
    return kernel_build(f->compiler, f->jobs, f->n_jobs, &options, err);
}

/* ---- the manifest ---- */

static kvc_status remove_file(const folder *f, const char *name, kvc_error *err)
{
    char path[4096];
    KVC_TRY(place(path, f->path, name, err));
    if (unlink(path) == 0 || errno == ENOENT) return KVC_OK;
    return kvc_fail(err, KVC_IO, "%s: cannot be removed: %s", path, strerror(errno));
}

static kvc_status write_manifest(const folder *f, kvc_error *err)
{
    char *text = kernel_manifest_text(&f->plan, f->images);
    if (!text) return kvc_fail(err, KVC_NO_MEMORY, "no memory for the manifest of the kernels");
    kvc_status status = write_different(f->path, "manifest.json", text, strlen(text), err);
    free(text);
    return status;
}

static kvc_status write_list(const folder *f, kvc_error *err)
{
    char *text = kernel_list_text(&f->plan, f->images, f->identity);
    if (!text) return kvc_fail(err, KVC_NO_MEMORY, "no memory for the list of the kernels");
    kvc_status status = write_different(f->path, KERNEL_LIST_FILE, text, strlen(text), err);
    free(text);
    return status;
}

/* Image and header of a kernel that only the last manifest has; an image that has got another ending. */
static kvc_status remove_unused(const folder *f, kvc_error *err)
{
    for (uint32_t i = 0; i < f->last.n_images; i++) {
        const kernel_image *old = &f->last.images[i], *now = NULL;
        char header[256];
        for (uint32_t k = 0; k < f->plan.n_kernels && !now; k++)
            if (strcmp(f->images[k].name, old->name) == 0) now = &f->images[k];
        snprintf(header, sizeof header, "source/%s.h", old->name);
        if (!now || strcmp(now->file, old->file) != 0) KVC_TRY(remove_file(f, old->file, err));
        if (!now) KVC_TRY(remove_file(f, header, err));
    }
    return KVC_OK;
}

static kvc_status fill(folder *f, const settings *s, kvc_error *err)
{
    KVC_TRY(make_folders(f->path, err));
    KVC_TRY(prepare(f, err));
    KVC_TRY(read_manifest(f, err));
    KVC_TRY(write_sources(f, err));
    find_jobs(f);
    if (f->n_jobs) {
        KVC_TRY(remove_file(f, KERNEL_LIST_FILE, err));
        KVC_TRY(remove_file(f, "manifest.json", err));
        if (!f->compiler) {
            console_note("%s: neither nvcc nor NVRTC was found: sources of %u kernels, no images", f->path,
                         f->plan.n_kernels);
            return KVC_OK;
        }
        KVC_TRY(build(f, s, err));
    }
    KVC_TRY(write_list(f, err));
    KVC_TRY(write_manifest(f, err));
    KVC_TRY(remove_unused(f, err));
    console_note("%s: %u kernels for %s, %u of them compiled now", f->path, f->plan.n_kernels, f->plan.target->name,
                 f->n_jobs);
    return KVC_OK;
}

static void folder_free(folder *f)
{
    for (uint32_t i = 0; f->params && i < f->plan.n_kernels; i++) free(f->params[i]);
    free(f->params);
    free(f->images);
    free(f->jobs);
    free(f->of_job);
    kernel_manifest_free(&f->last);
    kernel_plan_free(&f->plan);
}

static void note_slow(const kernel_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_kernels; i++)
        if (kernel_is_slow(&plan->kernels[i]))
            console_note(
                "%s: %s", plan->kernels[i].words,
                kernel_is_single(&plan->kernels[i])
                    ? "codes decoded one by one: slow"
                    : "shared codes, not in products of bytes on both sides: as slow as fp16, slower in short "
                      "contexts");
}

kvc_status kernel_folder_write(const settings *s, const kvc_config *config, const char *name, kvc_error *err)
{
    folder f = {.path = s->kernels, .identity = kvc_config_id(config)};
    kvc_error why;
    size_t n_params;
    if (!s->kernels) return KVC_OK;
    kvc_status status =
        kernel_plan_new(&f.plan, kvc_config_model(config), kvc_config_tokens(config), kvc_config_layer(config, 0),
                        kvc_config_parameters(config, &n_params), s->softcap, kernel_target_find(s->arch), &why);
    if (status) return kvc_fail(err, status, "%s: %s", name, why.message);
    note_slow(&f.plan);
    kernel_compiler *compiler = kernel_compiler_open();
    f.compiler = compiler;
    status = fill(&f, s, err);
    kernel_compiler_close(compiler);
    folder_free(&f);
    return status;
}

kvc_status kernel_folder_check(const settings *s, const kvc_model_info *model, kvc_error *err)
{
    char path[4096];
    if (!s->kernels) return KVC_OK;
    KVC_TRY(kernel_check_model(model, (uint32_t)s->page, err));
    if (s->dry_run) return KVC_OK;
    KVC_TRY(make_folder(s->kernels, err));
    KVC_TRY(place(path, s->kernels, "manifest.json", err));
    return output_check(path, err);
}
