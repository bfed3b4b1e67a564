/* bench_kernels.c - see bench_kernels.h. */
#include "bench_kernels.h"
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "kernel_folder.h"
#include "kernel_list.h"
#include "kernel_template.h"
#include "output.h"
#include "sha256.h"

#define MOST_TEXT ((size_t)1 << 26)

/* ---- the folder of the whole ---- */

/* What a list begins with (kernel_list.h). */
static char *list_head(const kvc_config *config)
{
    char id[65], *text;
    sha256_hex(kvc_config_id(config), id);
    return asprintf(&text, "kvc-kernels 1\ntemplate %s\nconfig %s\n", kernel_template_hash, id) < 0 ? NULL : text;
}

static kvc_status read_list(bench_kernels *k, const kvc_config *config, kvc_error *err)
{
    char path[4200], *head = list_head(config);
    size_t n;
    snprintf(path, sizeof path, "%s/%s", k->from, KERNEL_LIST_FILE);
    kvc_status status = head ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for a list of kernels");
    if (status == KVC_OK) status = input_read(&k->list, &n, path, MOST_TEXT, err);
    if (status == KVC_OK && strncmp(k->list, head, strlen(head)) != 0)
        status = kvc_fail(err, KVC_MISMATCH, "%s: kernels of another configuration, or of another version of kvcalib",
                          path);
    free(head);
    return status;
}

/* What the images were made for. */
static kvc_status read_manifest(bench_kernels *k, kvc_error *err)
{
    char path[4200], *text;
    size_t n;
    kernel_manifest manifest;
    snprintf(path, sizeof path, "%s/manifest.json", k->from);
    KVC_TRY(input_read(&text, &n, path, MOST_TEXT, err));
    kvc_status status = kernel_manifest_read(&manifest, text, n, err);
    free(text);
    KVC_TRY(status);
    memcpy(k->arch, manifest.arch, sizeof k->arch);
    for (uint32_t i = 0; i < manifest.n_images; i++) k->softcap |= strstr(manifest.images[i].name, "softcap") != NULL;
    kernel_manifest_free(&manifest);
    if (kernel_target_find(k->arch)) return KVC_OK;
    return kvc_fail(err, KVC_FORMAT, "%s: no manifest of kernels", path);
}

static kvc_status make_temporary(bench_kernels *k, kvc_error *err)
{
    const char *asked = getenv("TMPDIR"), *parent = asked && *asked ? asked : "/tmp";
    if ((size_t)snprintf(k->folder, sizeof k->folder, "%s/kvcalib-XXXXXX", parent) < sizeof k->folder &&
        mkdtemp(k->folder))
        return KVC_OK;
    *k->folder = 0;
    return kvc_fail(err, KVC_IO, "%.64s: no folder can be made there: %s", parent, strerror(errno));
}

kvc_status bench_kernels_open(bench_kernels *out, const bench_place *place, kvc_error *err)
{
    *out = (bench_kernels){0};
    if (!realpath(place->kernels, out->from))
        return kvc_fail(err, KVC_INPUT, "%s: cannot be opened: %s", place->kernels, strerror(errno));
    KVC_TRY(read_list(out, place->config, err));
    KVC_TRY(read_manifest(out, err));
    return make_temporary(out, err);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

void bench_kernels_close(bench_kernels *k)
{
    if (*k->folder) nftw(k->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(k->list);
    *k = (bench_kernels){0};
}

/* ---- the folder of one layer ---- */

/* "FILE KEY" of the layer, to the end of its line. */
static const char *find_layer(const bench_kernels *k, uint32_t layer, int *n_file, int *n)
{
    char name[32];
    int n_name = snprintf(name, sizeof name, "\nlayer %u ", layer);
    const char *at = strstr(k->list, name);
    if (!at) return NULL;
    at += n_name;
    *n_file = (int)strcspn(at, " /\n");
    *n = (int)strcspn(at, "\n");
    return *n_file > 0 && *n_file < 160 && at[*n_file] == ' ' ? at : NULL;
}

static kvc_status write_list(const char *folder, const kvc_config *config, const char *line, int n, kvc_error *err)
{
    char path[4300], *head = list_head(config), *text = NULL;
    snprintf(path, sizeof path, "%s/%s", folder, KERNEL_LIST_FILE);
    if (head && asprintf(&text, "%slayer 0 %.*s\n", head, n, line) < 0) text = NULL;
    free(head);
    if (!text) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a list of kernels");
    kvc_status status = output_write(path, text, strlen(text), err);
    free(text);
    return status;
}

static kvc_status link_image(const bench_kernels *k, const bench_layer *layer, const char *folder, kvc_error *err)
{
    char from[4300], to[4400];
    int n_file, n;
    const char *line = find_layer(k, layer->first, &n_file, &n);
    if (!line)
        return kvc_fail(err, KVC_FORMAT, "%s/%s: no image for layer %u", k->from, KERNEL_LIST_FILE, layer->first);
    snprintf(from, sizeof from, "%s/%.*s", k->from, n_file, line);
    snprintf(to, sizeof to, "%s/%.*s", folder, n_file, line);
    if (access(from, R_OK)) return kvc_fail(err, KVC_INPUT, "%s: cannot be read: %s", from, strerror(errno));
    if (symlink(from, to) && errno != EEXIST)
        return kvc_fail(err, KVC_IO, "%s: cannot be made: %s", to, strerror(errno));
    return write_list(folder, layer->image.config, line, n, err);
}

static kvc_status compile_fp16(const bench_kernels *k, const bench_layer *layer, const char *folder, kvc_error *err)
{
    char path[4300];
    const settings s = {.kernels = folder, .arch = k->arch, .softcap = k->softcap};
    snprintf(path, sizeof path, "%s/%s", folder, KERNEL_LIST_FILE);
    KVC_TRY(kernel_folder_write(&s, layer->image.config, "fp16", err));
    return access(path, R_OK) ? kvc_fail(err, KVC_UNSUPPORTED, "there is no compiler for an fp16 kernel") : KVC_OK;
}

kvc_status bench_kernels_of(const bench_kernels *k, const bench_layer *layer, char folder[4200], kvc_error *err)
{
    bool is_fp16 = layer->n_layers == 0;
    if (is_fp16)
        snprintf(folder, 4200, "%s/fp16", k->folder);
    else
        snprintf(folder, 4200, "%s/%u", k->folder, layer->first);
    if (mkdir(folder, 0700) && errno != EEXIST)
        return kvc_fail(err, KVC_IO, "%s: cannot be made: %s", folder, strerror(errno));
    return is_fp16 ? compile_fp16(k, layer, folder, err) : link_image(k, layer, folder, err);
}
