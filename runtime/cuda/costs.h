/* costs.h - what a tile of pages costs the attention kernels, where that differs from head to head: by what blocks'
 * shares are cut (kernels/template/attend_units.cuh). On the host. */
#ifndef RUNTIME_CUDA_COSTS_H
#define RUNTIME_CUDA_COSTS_H
#include <stdbool.h>
#include "kvc/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of the costliest head: others are right to .2 % of it, and sums have room in 32 bits. */
#define CUDA_MOST_COST 255u

/* costs [heads + CUDA_MORE_COSTS] of which the last ones are of all heads, the most of a head, and of a block that
 * goes on from one head to the next */
#define CUDA_MORE_COSTS 3u

/* Are heads unlike each other? Only codes that they share out make them, with constants known. costs: out, if it is
 * not NULL. */
bool cuda_tile_costs(const kvc_coder *key, const kvc_coder *value, uint32_t *costs);
/* In products of bytes; keys, values [heads]: codes of each head of d channels, NULL where heads are alike. */
void cuda_word_costs(uint32_t n_heads, uint32_t d, const uint32_t *keys, const uint32_t *values, uint32_t *costs);

#ifdef __cplusplus
}
#endif
#endif
