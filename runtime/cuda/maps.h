/* maps.h - what the attention kernels need of a coder's constants: its chain of transforms as one dense map for each
 * head (the coder's own fold and unfold of unit vectors, whatever the chain), and its tables. On the host. */
#ifndef RUNTIME_CUDA_MAPS_H
#define RUNTIME_CUDA_MAPS_H
#include <stdbool.h>
#include "kvc/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Has the side a latent space that is not the head's? */
static inline bool cuda_has_map(const kvc_coder *coder)
{
    return coder->codec.n_transforms || coder->codec.param_bytes;
}

/* Channels of a latent row as kernels have it: products are of 16, and behind those of the coder are zeros. */
static inline uint32_t cuda_latent(const kvc_coder *coder)
{
    return (coder->latent_dim + 15u) & ~15u;
}

/* Words of the map of a head, of queries (d to cuda_latent()) or of outputs (cuda_latent() to d). */
size_t cuda_map_words(const kvc_coder *coder, bool is_value);

/* Maps in the order of the kernels (attend_args.h).
 *  fold [heads][cuda_map_words()]  out; bias [heads][d]  out: a query's bias is its product with it */
void cuda_fold_map(const kvc_coder *keys, uint32_t *fold, float *bias);
/*  unfold [heads][cuda_map_words()]  out; mean [heads][d]  out: what a mass of 1 adds; work [kvc_coder_work()] */
void cuda_unfold_map(const kvc_coder *values, uint32_t *unfold, float *mean, float *work);

/* Of vq, lut and seg, borrowed from the constants; all NULL and 0 where there are none. */
typedef struct cuda_table {
    const uint32_t *counts; /* [heads] of codes that heads share out; else NULL */
    const uint16_t *values; /* fp16 [2^b][c]; of shared codes one for each length; others as FORMAT.md has them */
    size_t n_values;
} cuda_table;
cuda_table cuda_table_of(const kvc_coder *coder);

/* The steps of tables of 1, 2, 4, 8 and 16 channels, 0 where there is none: of byte tables kvc_coder_byte_step(); of
 * shared codes of 1 and 2 channels the smallest power of two of which no value is more than 127 times as much. */
void cuda_table_steps(const kvc_coder *coder, float steps[5]);

#ifdef __cplusplus
}
#endif
#endif
