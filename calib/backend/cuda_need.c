/* cuda_need.c - the scratch that operations will take, before they run. One at a time has it. */
#include "cuda_internal.h"

static size_t larger(size_t x, size_t y)
{
    return x > y ? x : y;
}

memory_need cuda_scratch_need(const backend *b, const scratch_shape *s)
{
    const cuda_state *state = b->state;
    /* Whole pages, at most fp16 and their scales, and a basis of every head. */
    size_t bytes = s->n_kv_heads * s->head_dim * (3 * s->n_tokens + 8 * s->head_dim);
    if (state->fast) bytes = larger(bytes, s->gemm_values * sizeof(uint16_t));
    if (s->sensitivity) bytes = larger(bytes, larger(cuda_sensitivity_bytes(s), cuda_moments_bytes(s)));
    if (s->table_points) bytes = larger(bytes, cuda_lloyd_bytes(b->lloyd_batch, s->table_points));
    if (s->n_rows) bytes = larger(bytes, cuda_probe_bytes(s));
    return (memory_need){.scratch = bytes};
}
