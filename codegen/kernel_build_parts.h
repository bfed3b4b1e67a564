/* kernel_build_parts.h - the two compilers behind kernel_build.h. */
#ifndef CODEGEN_KERNEL_BUILD_PARTS_H
#define CODEGEN_KERNEL_BUILD_PARTS_H
#include "kernel_build.h"

/* KVC_UNSUPPORTED: a compiler's refusal, its most telling line out of `log` [n]. */
kvc_status kernel_log_fail(const char *kernel, const char *compiler, const char *log, size_t n, kvc_error *err);

/* kernel_nvcc.c: an absolute path, owned, or NULL. */
char *kernel_nvcc_find(void);
kvc_status kernel_nvcc_build(const char *nvcc, const kernel_job *jobs, uint32_t n, const kernel_build_options *o,
                             kvc_error *err);

/* kernel_nvrtc.c */
typedef struct kernel_nvrtc kernel_nvrtc;
kernel_nvrtc *kernel_nvrtc_open(void); /* or NULL */
void kernel_nvrtc_close(kernel_nvrtc *x);
void kernel_nvrtc_version(const kernel_nvrtc *x, int *major, int *minor);
kvc_status kernel_nvrtc_build(const kernel_nvrtc *x, const kernel_job *jobs, uint32_t n,
                              const kernel_build_options *o, kvc_error *err);
#endif
