/* attend.h - one call of an attention kernel, with what comes before it, where there is need of it (slots of many
 * sequences, queries as fp32, lists of units, folded queries: template/attend_prepare.cuh), and the merge. Raw device
 * pointers and a stream; nothing is allocated, calls are asynchronous. */
#ifndef KERNELS_ATTEND_H
#define KERNELS_ATTEND_H
#include <cuda_runtime_api.h>
#include "kvc/kvc.h"
#include "template/attend_args.h"
#include "template/attend_info.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An image of template/attend_kernel.cu for a layer. */
typedef struct attend_kernel {
    const void *kernel; /* as cudaLaunchKernel() takes it */
    const void *few;    /* the same for calls of up to info.few.columns columns; NULL: there is none */
    attend_info info;
    uint32_t d, group; /* channels of a head; query heads to it */
    uint32_t n_blocks; /* multiprocessors */
    uint32_t alone;    /* early_bytes(), of kernel_attend_load() */
} attend_kernel;

#define ATTEND_MOST_QUERIES 16u /* of a sequence in a call */

/* Floats of attend_work.partial for calls of up to max_queries queries in all, of up to n_sequences sequences;
 * latent: the values' channels. */
size_t kernel_attend_partial(const attend_kernel *k, uint32_t n_heads, uint32_t n_sequences, uint32_t max_queries,
                             uint32_t latent);

/*  batch     n_sequences, n_queries, options: the rest is filled in; slots [n_sequences] is scratch
 *  queries   [n_sequences * n_queries][query heads][d] of dtype
 *  fp32      scratch for as many floats, 16-byte aligned; not looked at where queries are fp32 and aligned as well
 *  out       the same shape, fp32 */
cudaError_t kernel_attend(const attend_kernel *k, const attend_layer *l, const attend_batch *batch,
                          const attend_work *w, uint32_t *slots, const uint32_t *host_slots, const void *queries,
                          kvc_dtype dtype, float *fp32, float *out, cudaStream_t stream);

/* Room for the image's shared memory, the code of all kernels loaded, k->alone. */
cudaError_t kernel_attend_load(attend_kernel *k);

#ifdef __cplusplus
}
#endif
#endif
