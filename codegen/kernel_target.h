/* kernel_target.h - the GPUs that kernels are built for. To add one: a line in kernel_target.c. */
#ifndef CODEGEN_KERNEL_TARGET_H
#define CODEGEN_KERNEL_TARGET_H
#include <stdint.h>

typedef struct kernel_target {
    const char *name;      /* "sm_90" */
    uint32_t compute;      /* 90 */
    uint32_t shared_bytes; /* of shared memory that one block may have */
} kernel_target;

/* NULL: unknown. */
const kernel_target *kernel_target_find(const char *name);
#endif
