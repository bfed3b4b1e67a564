/* images.c - see images.h. The list is read as a stranger's: lines of bounded length, names without a folder. What
 * an image says of itself (attend_info) has to be what the list and this library say. */
#include "images.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "device.h"

#define LONGEST_LINE 512

/* ---- the list ---- */

typedef struct list {
    FILE *in;
    char path[4096], line[LONGEST_LINE];
    const char *folder;
} list;

/* The next line without its end; "" behind the last. */
static kvc_status next_line(list *l, kvc_error *err)
{
    if (!fgets(l->line, sizeof l->line, l->in)) l->line[0] = 0;
    size_t n = strlen(l->line);
    if (n + 1 == sizeof l->line) return kvc_fail(err, KVC_FORMAT, "%s: a line is too long", l->path);
    if (n && l->line[n - 1] == '\n') l->line[n - 1] = 0;
    return KVC_OK;
}

/* A line "name value". */
static kvc_status expect(list *l, const char *name, const char *value, const char *otherwise, kvc_error *err)
{
    size_t n = strlen(name);
    KVC_TRY(next_line(l, err));
    if (strncmp(l->line, name, n) != 0 || l->line[n] != ' ')
        return kvc_fail(err, KVC_FORMAT, "%s: '%s ...' expected, not '%.60s'", l->path, name, l->line);
    if (strcmp(l->line + n + 1, value) == 0) return KVC_OK;
    return kvc_fail(err, KVC_MISMATCH, "%s: %s", l->path, otherwise);
}

static kvc_status open_list(list *l, const char *folder, const kvc_config *cfg, kvc_error *err)
{
    char id[65] = "";
    for (int i = 0; i < 32; i++) snprintf(id + 2 * i, 3, "%02x", kvc_config_id(cfg)[i]);
    l->folder = folder;
    if ((size_t)snprintf(l->path, sizeof l->path, "%s/kernels.list", folder) >= sizeof l->path)
        return kvc_fail(err, KVC_INVALID, "the path is too long: %.64s...", folder);
    l->in = fopen(l->path, "r");
    if (!l->in) return kvc_fail(err, KVC_INPUT, "%s: cannot be read: %s", l->path, strerror(errno));
    KVC_TRY(expect(l, "kvc-kernels", "1", "another version of this list", err));
    KVC_TRY(expect(l, "template", KERNEL_TEMPLATE_HASH, "kernels of another version of kvcalib: compile them again",
                   err));
    return expect(l, "config", id, "kernels of another configuration", err);
}

/* "layer 3 FILE KEY": the file, of at most 159 bytes, and the key behind it. */
static kvc_status read_layer(list *l, uint32_t layer, char file[160], const char **key, kvc_error *err)
{
    char number[32], *end;
    int n = snprintf(number, sizeof number, "layer %u ", layer);
    KVC_TRY(next_line(l, err));
    char *name = l->line + n;
    bool good = strncmp(l->line, number, (size_t)n) == 0 && (end = strchr(name, ' ')) && end - name < 160;
    if (good) *end = 0;
    if (!good || strchr(name, '/') || !strrchr(name, '.') || *name == '.')
        return kvc_fail(err, KVC_FORMAT, "%s: 'layer %u FILE KEY' expected, not '%.60s'", l->path, layer, l->line);
    strcpy(file, name);
    *key = end + 1;
    return KVC_OK;
}

/* ---- one image ---- */

static kvc_status check_info(const attend_info *info, size_t bytes, const char *key, const char *path, kvc_error *err)
{
    if (bytes < sizeof *info || info->version != ATTEND_INFO_VERSION ||
        strncmp(info->template_hash, KERNEL_TEMPLATE_HASH, sizeof info->template_hash) != 0)
        return kvc_fail(err, KVC_MISMATCH, "%s: a kernel of another version of kvcalib: compile it again", path);
    if (strncmp(info->key, key, sizeof info->key) != 0)
        return kvc_fail(err, KVC_MISMATCH, "%s: a kernel for '%.100s', not for '%.100s'", path, info->key, key);
    return KVC_OK;
}

/* Symbols of an image: the file's name without its ending, and what comes behind that. */
typedef struct symbol {
    char name[160 + sizeof "_info"];
} symbol;

static symbol symbol_of(const cuda_image *image, const char *ending)
{
    symbol s;
    int n = (int)(strrchr(image->file, '.') - image->file);
    snprintf(s.name, sizeof s.name, "%.*s%s", n, image->file, ending);
    return s;
}

static cudaError_t read_info(cuda_image *image, size_t *bytes)
{
    void *at;
    attend_info *info = &image->kernel.info;
    cudaError_t status = cudaLibraryGetGlobal(&at, bytes, image->library, symbol_of(image, "_info").name);
    if (status != cudaSuccess) return status;
    return cudaMemcpy(info, at, *bytes < sizeof *info ? *bytes : sizeof *info, cudaMemcpyDeviceToHost);
}

static cudaError_t find_kernel(const cuda_image *image, const char *ending, const void **out)
{
    cudaKernel_t kernel;
    cudaError_t status = cudaLibraryGetKernel(&kernel, image->library, symbol_of(image, ending).name);
    if (status == cudaSuccess) *out = (const void *)kernel;
    return status;
}

static kvc_status find_kernels(cuda_image *image, const char *key, const char *path, kvc_error *err)
{
    size_t bytes;
    attend_kernel *k = &image->kernel;
    cudaError_t status = read_info(image, &bytes);
    if (status == cudaSuccess) {
        KVC_TRY(check_info(&k->info, bytes, key, path, err));
        status = find_kernel(image, "", &k->kernel);
    }
    if (status == cudaSuccess && k->info.few.columns) status = find_kernel(image, "_few", &k->few);
    if (status == cudaSuccess) return KVC_OK;
    cudaGetLastError();
    return kvc_fail(err, KVC_MISMATCH, "%s: no kernel for this device: %s", path, cudaGetErrorString(status));
}

static kvc_status load(cuda_image *image, const list *l, const char *key, const kvc_model_info *model, kvc_error *err)
{
    char path[4096 + 200];
    int device, n_blocks;
    snprintf(path, sizeof path, "%s/%s", l->folder, image->file);
    cudaError_t status = cudaLibraryLoadFromFile(&image->library, path, NULL, NULL, 0, NULL, NULL, 0);
    if (status != cudaSuccess) {
        image->library = NULL;
        if (status == cudaErrorMemoryAllocation) return kvci_cuda_fail(err, status, path);
        cudaGetLastError();
        return kvc_fail(err, KVC_MISMATCH, "%s: cannot be loaded: %s", path, cudaGetErrorString(status));
    }
    KVC_TRY(find_kernels(image, key, path, err));
    KVC_TRY_CUDA(cudaGetDevice(&device));
    KVC_TRY_CUDA(cudaDeviceGetAttribute(&n_blocks, cudaDevAttrMultiProcessorCount, device));
    image->kernel.d = model->head_dim;
    image->kernel.group = model->n_query_heads / model->n_kv_heads;
    image->kernel.n_blocks = (uint32_t)n_blocks;
    return KVC_OK;
}

/* ---- all of them ---- */

/* The image of a file that another layer has, or a new one. */
static kvc_status take_layer(cuda_images *all, uint32_t layer, list *l, const kvc_model_info *model, kvc_error *err)
{
    char file[160];
    const char *key = "";
    KVC_TRY(read_layer(l, layer, file, &key, err));
    uint32_t i = 0;
    while (i < all->n && strcmp(all->images[i].file, file) != 0) i++;
    all->of_layer[layer] = i;
    if (i < all->n) return KVC_OK;
    strcpy(all->images[all->n].file, file);
    return load(&all->images[all->n++], l, key, model, err);
}

static kvc_status load_all(cuda_images *out, list *l, const char *folder, const kvc_config *cfg, kvc_error *err)
{
    const kvc_model_info *model = kvc_config_model(cfg);
    KVC_TRY(open_list(l, folder, cfg, err));
    out->images = calloc(model->n_layers, sizeof *out->images);
    out->of_layer = calloc(model->n_layers, sizeof *out->of_layer);
    if (!out->images || !out->of_layer)
        return kvc_fail(err, KVC_NO_MEMORY, "no memory for %u kernels", model->n_layers);
    for (uint32_t i = 0; i < model->n_layers; i++) KVC_TRY(take_layer(out, i, l, model, err));
    return KVC_OK;
}

kvc_status cuda_images_load(cuda_images *out, const char *folder, const kvc_config *cfg, kvc_error *err)
{
    list l = {0};
    *out = (cuda_images){0};
    kvc_status status = load_all(out, &l, folder, cfg, err);
    if (l.in) fclose(l.in);
    if (status != KVC_OK) cuda_images_unload(out);
    return status;
}

void cuda_images_unload(cuda_images *images)
{
    for (uint32_t i = 0; i < images->n; i++)
        if (images->images[i].library) cudaLibraryUnload(images->images[i].library);
    free(images->images);
    free(images->of_layer);
    *images = (cuda_images){0};
}
