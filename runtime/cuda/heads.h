/* heads.h - coders of some of a model's KV heads, whose constants are cut out of the configuration's. */
#ifndef RUNTIME_CUDA_HEADS_H
#define RUNTIME_CUDA_HEADS_H
#include "cuda_cache.h"

/* The layers' coders for the KV heads from `begin` on, cache->n_kv_heads of them; their constants become the cache's
 * own. KVC_UNSUPPORTED, with the codec's name: codes that all heads share out. */
kvc_status cuda_bind_heads(kvc_cuda_cache *cache, const kvc_config *cfg, uint32_t begin, kvc_error *err);
#endif
