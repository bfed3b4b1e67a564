/* kernel_target.c - see kernel_target.h. Shared memory of a block: CUDA C++ Programming Guide, "Technical
 * specifications per compute capability". */
#include "kernel_target.h"
#include <stddef.h>
#include <string.h>

static const kernel_target targets[] = {
    {"sm_80", 80, 163 << 10}, {"sm_86", 86, 99 << 10},    {"sm_87", 87, 163 << 10},   {"sm_89", 89, 99 << 10},
    {"sm_90", 90, 227 << 10}, {"sm_100", 100, 227 << 10}, {"sm_103", 103, 227 << 10}, {"sm_120", 120, 99 << 10},
};

const kernel_target *kernel_target_find(const char *name)
{
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        if (strcmp(targets[i].name, name) == 0) return &targets[i];
    return NULL;
}
