/* attend.cu - see attend.h. The image's own launch, before it what a call needs, and the merge. */
#include "attend.h"

#include "device.cuh"
#include "template/attend_merge.cuh"
#include "template/attend_prepare.cuh"

#define BEGIN_THREADS 256
#define BEGIN_SLOTS 248u
#define BEGIN_BLOCKS 1024u

struct begin_slots {
    uint32_t n;
    uint32_t slot[BEGIN_SLOTS];
};

/* slots [b.n], and queries [n] as fp32 */
__global__ void __launch_bounds__(BEGIN_THREADS)
    attend_begin(uint32_t *slots, const __grid_constant__ begin_slots b, const void *queries, kvc_dtype dtype,
                 float *to, size_t n)
{
    const uint16_t *narrow = (const uint16_t *)queries;
    await_previous();
    let_next_start();
    if (blockIdx.x == 0 && threadIdx.x < b.n) slots[threadIdx.x] = b.slot[threadIdx.x];
    for (size_t i = (size_t)blockIdx.x * BEGIN_THREADS + threadIdx.x; i < n; i += (size_t)gridDim.x * BEGIN_THREADS)
        to[i] = dtype == KVC_F32    ? ((const float *)queries)[i]
                : dtype == KVC_BF16 ? __uint_as_float((uint32_t)narrow[i] << 16)
                                    : __half2float(__ushort_as_half(narrow[i]));
}

/* Slots go with the call where they are few, and queries as they are where they are fp32 and rows can be read by 16
 * bytes. */
static cudaError_t begin(attend_batch *batch, uint32_t *slots, const uint32_t *host_slots, const void *queries,
                         kvc_dtype dtype, float *fp32, size_t n, bool early, cudaStream_t stream)
{
    size_t n_convert = dtype == KVC_F32 && (uintptr_t)queries % 16 == 0 ? 0 : n;
    uint32_t n_slots = batch->n_sequences;
    for (uint32_t i = 0; i < ATTEND_FEW && i < n_slots; i++) batch->slot[i] = host_slots[i];
    if (n_slots <= ATTEND_FEW) n_slots = 0;
    batch->slots = slots;
    batch->queries = n_convert ? fp32 : (const float *)queries;
    for (uint32_t first = 0; first < n_slots || n_convert; first += BEGIN_SLOTS, n_convert = 0) {
        begin_slots b = {n_slots > first ? n_slots - first : 0, {0}};
        if (b.n > BEGIN_SLOTS) b.n = BEGIN_SLOTS;
        for (uint32_t i = 0; i < b.n; i++) b.slot[i] = host_slots[first + i];
        size_t blocks = n_convert / (4 * BEGIN_THREADS) + 1;
        cudaError_t status =
            launch(early, attend_begin, dim3(blocks < BEGIN_BLOCKS ? (unsigned)blocks : BEGIN_BLOCKS), BEGIN_THREADS,
                   0, stream, slots + first, b, queries, dtype, fp32, n_convert);
        if (status != cudaSuccess) return status;
    }
    return cudaSuccess;
}

/* Do calls of so many queries of a sequence have few columns? */
static bool is_few(const attend_kernel *k, uint32_t n_queries)
{
    return n_queries * k->group <= k->info.few.columns;
}

/* The kernel for them; and what all of their columns are. */
static const attend_shape_info *shape_of(const attend_kernel *k, uint32_t n_queries)
{
    return is_few(k, n_queries) ? &k->info.few : &k->info.many;
}
static attend_columns all_columns(const attend_kernel *k, uint32_t n_queries)
{
    const attend_shape_info *shape = shape_of(k, n_queries);
    return columns_of(share_of(n_queries * k->group, shape->columns), shape->warps);
}

static cudaError_t launch_image(const attend_kernel *k, attend_layer l, attend_batch b, attend_work w,
                                cudaStream_t stream)
{
    void *arguments[] = {&l, &b, &w};
    const attend_shape_info *shape = shape_of(k, b.n_queries);
    return launch_loaded(k->alone != 0, is_few(k, b.n_queries) ? k->few : k->kernel, dim3(k->n_blocks),
                         shape->warps * 32, shape->shared_bytes, stream, arguments);
}

extern "C" cudaError_t kernel_attend(const attend_kernel *k, const attend_layer *layer, const attend_batch *batch,
                                     const attend_work *work, uint32_t *slots, const uint32_t *host_slots,
                                     const void *queries, kvc_dtype dtype, float *fp32, float *out,
                                     cudaStream_t stream)
{
    attend_layer l = *layer;
    attend_batch b = *batch;
    attend_work w = *work;
    b.out = out;
    b.columns = all_columns(k, b.n_queries);
    size_t n = (size_t)b.n_sequences * b.n_queries * k->group * l.n_heads * k->d;
    bool early = k->alone != 0;
    cudaError_t status = begin(&b, slots, host_slots, queries, dtype, fp32, n, early, stream);
    if (status == cudaSuccess) status = launch_prepare(l, b, w, k->d, k->group, k->info.tile, early, stream);
    if (status == cudaSuccess) status = launch_image(k, l, b, w, stream);
    if (status != cudaSuccess) return status;
    return launch_merge(l, b, w, k->d, k->group, shape_of(k, b.n_queries)->columns, k->info.tile, k->n_blocks, 0,
                        k->alone, stream);
}

extern "C" size_t kernel_attend_partial(const attend_kernel *k, uint32_t n_heads, uint32_t n_sequences,
                                        uint32_t max_queries, uint32_t latent)
{
    size_t most = 0;
    for (uint32_t q = 1; q <= ATTEND_MOST_QUERIES && q <= max_queries; q++) {
        uint32_t n = max_queries / q < n_sequences ? max_queries / q : n_sequences;
        attend_roles roles(all_columns(k, q), n_heads, n, k->n_blocks);
        size_t own = (size_t)roles.n_results() * shape_of(k, q)->columns;
        most = own > most ? own : most;
    }
    return most * result_floats(k->d, latent);
}

/* shared_bytes: 0 where a kernel may have as much as it needs already. */
static cudaError_t load(const void *kernel, uint32_t shared_bytes)
{
    cudaFuncAttributes unused;
    cudaError_t status = cudaSuccess;
    if (shared_bytes)
        status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
    return status == cudaSuccess ? cudaFuncGetAttributes(&unused, kernel) : status;
}

extern "C" cudaError_t kernel_attend_load(attend_kernel *k)
{
    const void *const of_call[] = {(const void *)attend_begin, (const void *)attend_prepare,
                                   (const void *)attend_merge, k->kernel, k->few ? k->few : k->kernel};
    cudaError_t status = load(k->kernel, k->info.many.shared_bytes);
    if (status == cudaSuccess && k->few) status = load(k->few, k->info.few.shared_bytes);
    if (status == cudaSuccess) status = load((const void *)attend_begin, 0);
    if (status == cudaSuccess) status = early_bytes(of_call, 5, &k->alone);
    return status == cudaSuccess ? allow_merge(k->alone) : status;
}
