/* kernel_list.h - kernels.list of a folder of kernels: the same as its manifest.json, as lines that libkvc_cuda reads
 * without a JSON parser (runtime/cuda/images.c).
 *
 *     kvc-kernels 1
 *     template 6bb3...                    SHA-256 of the template (kernel_template.h)
 *     config 5f0c...                      the identity of the cfg.bin that the kernels belong to
 *     layer 0 attend_...fatbin int4.ch64 int4.tok128 d128 g4 p64 c8
 *     layer 1 ...                         of every layer: a file of the folder, the key of its kernel
 *
 * The kernel's symbol is the file's name without its ending; that of a second one for calls of few columns
 * (kernels/template/attend_info.h) has "_few" behind it. */
#ifndef CODEGEN_KERNEL_LIST_H
#define CODEGEN_KERNEL_LIST_H
#include "kernel_manifest.h"

#define KERNEL_LIST_FILE "kernels.list"

/* images [plan->n_kernels], in the plan's order; identity as kvc_config_id() gives it. Owned: free(); NULL: out of
 * memory. */
char *kernel_list_text(const kernel_plan *plan, const kernel_image *images, const uint8_t identity[32]);
#endif
