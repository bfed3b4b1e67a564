/* kernel_template.h - the attention template as it was when the program was built. */
#ifndef CODEGEN_KERNEL_TEMPLATE_H
#define CODEGEN_KERNEL_TEMPLATE_H
#include <stddef.h>

#define KERNEL_TEMPLATE_MAIN "template/attend_kernel.cu"

typedef struct kernel_template_file {
    const char *path; /* from the include folder: "template/attend.cuh" */
    const char *text; /* ends in a NUL that `bytes` does not count */
    size_t bytes;
} kernel_template_file;

/* Sorted by path; NULL behind the last. */
const kernel_template_file *kernel_template_get(size_t i);
/* SHA-256, hexadecimal, of what `sha256sum` prints in kernels/ for these files in this order. */
extern const char kernel_template_hash[];
#endif
