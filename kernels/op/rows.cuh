/* rows.cuh - where a strip's rows stand and what they see. */
#ifndef KERNELS_OP_ROWS_CUH
#define KERNELS_OP_ROWS_CUH
#include "op.h"

__device__ inline uint32_t row_position(const op_rows &rows, uint32_t r)
{
    return rows.positions ? rows.positions[r] : rows.first + r;
}

/* kvc_tokens_compressed() */
__device__ inline uint32_t tokens_compressed(const kvc_token_policy &p, uint64_t n)
{
    uint64_t exact = (uint64_t)p.sinks + p.window;
    return n > exact ? (uint32_t)((n - exact) / p.page * p.page) : 0;
}
#endif
