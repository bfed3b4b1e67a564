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

/* Do tiles of different heads cost different, with constants known? Only codes that heads share out make them.
 *  costs [heads + 2]  out, if it is not NULL: of the heads before each, of all, the most of a head */
bool cuda_tile_costs(const kvc_coder *key, const kvc_coder *value, uint32_t *costs);
/* The same where both sides have byte tables; keys, values [heads]: codes of each head of d channels. */
bool cuda_word_costs(uint32_t n_heads, uint32_t d, const uint32_t *keys, const uint32_t *values, uint32_t *costs);

#ifdef __cplusplus
}
#endif
#endif
