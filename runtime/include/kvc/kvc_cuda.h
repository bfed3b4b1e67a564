/* kvc_cuda.h - libkvc_cuda: the cache of kvc.h in the memory of a GPU, over device pointers and a stream.
 *
 * Shapes, order of rows, token policy and pages are those of kvc.h; pages have the same bytes. All memory is
 * allocated by kvc_cuda_cache_create(). Calls put work on the stream and return: what they change or compute is there
 * when the stream has come so far. Calls of one cache must be serialised by the caller, attend too (it has one
 * scratch), and must follow one another on the device: one stream, or streams that wait for each other. Every call
 * works on the cache's device, whichever is current, and leaves the current one as it was.
 *
 * Graphs. append and attend may be captured and replayed: how long a sequence is stands in device memory and is
 * advanced there. While a stream is captured the host's own numbers (lengths, pages in use) stay as they are, since
 * nothing has happened yet. So
 *
 *     kvc_cuda_cache_reserve(cache, sequence, tokens to come, ...)     before: pages for what replays will append
 *     cudaGraphLaunch(...)                                             as often as there is room for
 *     kvc_cuda_cache_advance(cache, batch, ...) for each replay,       before the next call that is not a replay
 *     or kvc_cuda_cache_sync(cache, ...) once
 *
 * A replay for which no page is left drops the tokens of that sequence and leaves it as it was; one whose rows are
 * not finite stores NaN as 0 and infinity as the largest fp16 number. kvc_cuda_cache_sync() says so afterwards. */
#ifndef KVC_KVC_CUDA_H
#define KVC_KVC_CUDA_H
#include "kvc/kvc.h"

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st; /* cudaStream_t is a pointer to it */

/* Set `size` to sizeof(kvc_cuda_cache_options); fields that a later version adds are then taken as zero. */
typedef struct kvc_cuda_cache_options {
    uint32_t size;
    int32_t device; /* CUDA's number */
    uint32_t max_sequences;
    uint32_t max_queries; /* query tokens of an attend call, of all its sequences; 0: max_sequences */
    uint64_t max_tokens;  /* room for these, however sequences share them; shared pages count once */
    const char *kernels;  /* the folder of `kvcalib compile --kernels`; NULL: none, attend is KVC_UNSUPPORTED */
    /* A cache of these KV heads alone, as one GPU of several has them; 0, 0: all. Rows, queries and outputs of all
     * calls are then those of these heads, side by side, and so are pages. KVC_UNSUPPORTED with codecs whose codes
     * all heads share out. */
    uint32_t kv_head_begin, kv_head_end;
} kvc_cuda_cache_options;

typedef struct kvc_cuda_cache kvc_cuda_cache;

/* The configuration is borrowed and must outlive the cache. KVC_MISMATCH: kernels of another configuration, of
 * another version, for another device, or not all there; the message names the file. KVC_NO_MEMORY: of the device or
 * of the host. KVC_UNSUPPORTED: no such device, or what CUDA says. */
KVC_API kvc_status kvc_cuda_cache_create(kvc_cuda_cache **out, const kvc_config *cfg,
                                         const kvc_cuda_cache_options *options, kvc_error *err);
/* Waits for the device first. NULL is fine. */
KVC_API void kvc_cuda_cache_destroy(kvc_cuda_cache *cache);
KVC_API size_t kvc_cuda_cache_bytes(const kvc_cuda_cache *cache); /* of device memory that create allocated */

/* As kvc_cache_append(); `keys` and `values` are device memory and must stay until the stream has read them. KVC_FULL
 * leaves the cache as it was. Rows that are not finite are not refused (above). */
KVC_API kvc_status kvc_cuda_cache_append(kvc_cuda_cache *cache, uint32_t layer, const kvc_batch *batch,
                                         const void *keys, const void *values, kvc_dtype dtype,
                                         struct CUstream_st *stream, kvc_error *err);
KVC_API uint32_t kvc_cuda_cache_chunk(const kvc_cuda_cache *cache, uint32_t layer, uint32_t sequence);

/* As kvc_cache_attend(), with device memory; relative error of the output below 2e-3 (operands of fp16
 * or two bytes, fp32 sums), a little more where one channel of the keys is tens of times the others.
 * KVC_UNSUPPORTED: more than 16 queries of a sequence, some of the cache's KV heads without the others, a softcap
 * where the kernels were compiled without --softcap or the other way round. Replayed for an empty sequence, the
 * output is zero. `options` may be NULL. */
KVC_API kvc_status kvc_cuda_cache_attend(kvc_cuda_cache *cache, uint32_t layer, const kvc_batch *batch,
                                         const void *queries, kvc_dtype dtype, float *out,
                                         const kvc_attend_options *options, struct CUstream_st *stream,
                                         kvc_error *err);

KVC_API uint64_t kvc_cuda_cache_length(const kvc_cuda_cache *cache, uint32_t layer, uint32_t sequence);
/* As in kvc.h. Not while the stream is captured, and the host's lengths have to be the device's (above). truncate
 * gives back pages that were reserved and are not in use. */
KVC_API kvc_status kvc_cuda_cache_truncate(kvc_cuda_cache *cache, uint32_t sequence, uint64_t n_tokens,
                                           struct CUstream_st *stream, kvc_error *err);
KVC_API kvc_status kvc_cuda_cache_fork(kvc_cuda_cache *cache, uint32_t from, uint32_t to, struct CUstream_st *stream,
                                       kvc_error *err);
KVC_API kvc_status kvc_cuda_cache_reset(kvc_cuda_cache *cache, uint32_t sequence, struct CUstream_st *stream,
                                        kvc_error *err);

/* Pages for the sequence to grow to n_tokens in all layers. KVC_FULL leaves the cache as it was. Not while the stream
 * is captured. */
KVC_API kvc_status kvc_cuda_cache_reserve(kvc_cuda_cache *cache, uint32_t sequence, uint64_t n_tokens,
                                          struct CUstream_st *stream, kvc_error *err);
/* A replay has appended this batch to every layer: the host's lengths follow, the device is not asked. KVC_FULL: some
 * sequence had no page left; its length stays, as it does on the device. */
KVC_API kvc_status kvc_cuda_cache_advance(kvc_cuda_cache *cache, const kvc_batch *batch, kvc_error *err);
/* Wait for the stream and take lengths from the device. KVC_FULL or KVC_NONFINITE where that happened since the last
 * sync; the lengths are right all the same. Not while the stream is captured. */
KVC_API kvc_status kvc_cuda_cache_sync(kvc_cuda_cache *cache, struct CUstream_st *stream, kvc_error *err);

#ifdef __cplusplus
}
#endif
#endif
