/* images.h - the attention kernels of a configuration, from the folder of `kvcalib compile --kernels`: kernels.list
 * (docs/commands.md, "Kernels") says which file serves which layer. */
#ifndef RUNTIME_CUDA_IMAGES_H
#define RUNTIME_CUDA_IMAGES_H
#include "attend.h"

typedef struct cuda_image {
    char file[160]; /* in the folder */
    cudaLibrary_t library;
    attend_kernel kernel;
} cuda_image;

typedef struct cuda_images {
    cuda_image *images;
    uint32_t n, *of_layer; /* [n_layers] index */
} cuda_images;

/* For the current device. On error nothing stays loaded. */
kvc_status cuda_images_load(cuda_images *out, const char *folder, const kvc_config *cfg, kvc_error *err);
void cuda_images_unload(cuda_images *images);

#endif
