/* kernel_source.h - the parameters of a kernel as a header of #defines: all that codegen writes. The template is
 * kernel_template.h's. */
#ifndef CODEGEN_KERNEL_SOURCE_H
#define CODEGEN_KERNEL_SOURCE_H
#include "kernel_plan.h"

/* A function of its arguments alone. Owned: free(). NULL: out of memory. */
char *kernel_source(const kernel_spec *kernel, const char *template_hash);
#endif
