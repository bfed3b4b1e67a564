/* page_shape.cuh - what the device functions of every codec know about a page: a kvc_coder without its pointers. */
#ifndef KERNELS_CODEC_PAGE_SHAPE_CUH
#define KERNELS_CODEC_PAGE_SHAPE_CUH
#include <stdint.h>

struct page_shape {
    uint32_t n_heads, d, page, bits, group, block_bytes, code_bytes;
    uint32_t by_token;  /* scales per token (tok) rather than per channel (ch) */
    uint32_t had_block; /* size of one Walsh-Hadamard block, 0: no transform */
    float had_factor;   /* 1 / sqrt(had_block) */
};

__device__ inline float clamp_fp16(float x)
{
    x = x > -65504.0f ? x : -65504.0f;
    return x < 65504.0f ? x : 65504.0f;
}
#endif
