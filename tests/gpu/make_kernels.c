/* make_kernels.c - the files of cache_cases.h, by the writer that `kvcalib compile --kernels` has.
 *
 *     make_kernels FOLDER ARCH NAME...     FOLDER/NAME/cfg.bin and FOLDER/NAME/kernels/ */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "cache_cases.h"
#include "kernel_folder.h"
#include "output.h"

static kvc_status make(const char *folder, const char *arch, const char *name, kvc_error *err)
{
    const cache_case *c = cache_case_find(name);
    char path[4096], kernels[4200];
    size_t n;
    kvc_config *cfg;
    if (!c) return kvc_fail(err, KVC_INVALID, "%s: no such case", name);
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path)
        return kvc_fail(err, KVC_INVALID, "%s: too long", folder);
    mkdir(folder, 0777); /* where it cannot be made, the file below cannot be written */
    mkdir(path, 0777);
    void *image = case_config_image(&c->config, &n);
    kvc_status status = kvc_config_open_memory(&cfg, image, n, err);
    if (status == KVC_OK) {
        snprintf(kernels, sizeof kernels, "%s/kernels", path);
        const settings s = {.kernels = kernels, .arch = arch, .threads = 1, .softcap = c->softcap > 0.0f};
        status = kernel_folder_write(&s, cfg, name, err);
        snprintf(kernels, sizeof kernels, "%s/cfg.bin", path);
        if (status == KVC_OK) status = output_write(kernels, image, n, err);
        kvc_config_close(cfg);
    }
    free(image);
    return status;
}

int main(int argc, char **argv)
{
    kvc_error err = {"make_kernels FOLDER ARCH NAME..."};
    kvc_status status = argc < 4 ? KVC_INVALID : KVC_OK;
    for (int i = 3; i < argc && status == KVC_OK; i++) status = make(argv[1], argv[2], argv[i], &err);
    if (status != KVC_OK) fprintf(stderr, "%s\n", err.message);
    return status != KVC_OK;
}
