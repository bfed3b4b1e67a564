/* kernel_manifest.h - manifest.json of a folder of kernels: which image serves which layer, and what each was made
 * from. It is written last, so that what it names is there. */
#ifndef CODEGEN_KERNEL_MANIFEST_H
#define CODEGEN_KERNEL_MANIFEST_H
#include "kernel_plan.h"

#define KERNEL_MANIFEST_FORMAT 1

/* Hashes are SHA-256, hexadecimal. */
typedef struct kernel_image {
    char name[128];  /* the kernel's */
    char file[140];  /* in the folder */
    char sha256[65]; /* of the file */
    char params[65]; /* of the header of parameters, which has the key, the cut and the template's hash in it */
} kernel_image;

typedef struct kernel_manifest {
    char arch[16];
    kernel_image *images;
    uint32_t n_images;
} kernel_manifest;

/* What is no manifest of this format reads as one without images: nothing is up to date then. */
kvc_status kernel_manifest_read(kernel_manifest *out, const char *text, size_t n, kvc_error *err);
void kernel_manifest_free(kernel_manifest *m);
/* NULL where there is none. */
const kernel_image *kernel_manifest_find(const kernel_manifest *m, const char *name);

/* images [plan->n_kernels], in the plan's order. Canonical: equal arguments give equal text. Owned: free(); NULL: out
 * of memory. */
char *kernel_manifest_text(const kernel_plan *plan, const kernel_image *images);
#endif
