/* kernel_build.h - parameter headers to images that the CUDA driver loads, by nvcc where it is found, else by NVRTC.
 *
 * nvcc makes a fatbin: the target's own code, and PTX that the driver compiles for any later GPU. NVRTC makes one or
 * the other; it is given the target, so its cubin serves GPUs of that generation alone. */
#ifndef CODEGEN_KERNEL_BUILD_H
#define CODEGEN_KERNEL_BUILD_H
#include <stdbool.h>
#include "kernel_target.h"
#include "kvc/kvc.h"

typedef struct kernel_compiler kernel_compiler;

/* nvcc: $CUDACXX, on PATH, in $CUDA_HOME/bin. NVRTC: the library that $KVC_NVRTC names, else libnvrtc.so where the
 * loader or $CUDA_HOME/lib64 has it. NULL: there is neither. */
kernel_compiler *kernel_compiler_open(void);
void kernel_compiler_close(kernel_compiler *c);               /* NULL is fine */
const char *kernel_compiler_text(const kernel_compiler *c);   /* "nvcc (/usr/local/cuda/bin/nvcc)", "NVRTC 13.0" */
const char *kernel_compiler_ending(const kernel_compiler *c); /* of an image's file name: "fatbin" or "cubin" */

typedef struct kernel_job {
    const char *name;   /* the symbol; its header is name.h */
    const char *params; /* that header's text (kernel_source.h) */
} kernel_job;

typedef struct kernel_build_options {
    const char *folder; /* holds the template's files and the headers */
    const kernel_target *target;
    uint32_t n_parallel; /* processes at a time, at least 1; NVRTC has one thread */
    /* Called for each image as it comes, in any order; `bytes` is borrowed. */
    kvc_status (*take)(void *context, uint32_t job, const void *bytes, size_t n, kvc_error *err);
    bool (*cancelled)(void *context);
    void *context;
} kernel_build_options;

/* The first failure ends it; the message has the kernel's name and the compiler's own line. KVC_INTERRUPTED where
 * cancelled() said so. */
kvc_status kernel_build(const kernel_compiler *c, const kernel_job *jobs, uint32_t n, const kernel_build_options *o,
                        kvc_error *err);
#endif
