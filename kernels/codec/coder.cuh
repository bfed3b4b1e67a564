/* coder.cuh - the chain of transforms around a symbol (runtime/codec/coder.c): rows of a page between memory and a
 * tile in shared memory. Values are clamped to the fp16 range before the first transform and after each, and not on
 * the way back. */
#ifndef KERNELS_CODEC_CODER_CUH
#define KERNELS_CODEC_CODER_CUH
#include "codec/had.cuh"
#include "codec/klt.cuh"
#include "codec/perm.cuh"
#include "codec/rot.cuh"
#include "codec/smooth.cuh"

/* All that a thread block knows of its work. MATRIX: with rot or klt, which take registers from everything else. */
struct coder_work {
    const uint8_t *params;
    uint32_t head;
    size_t stride; /* from a row of the head to its next one */
};

__host__ __device__ inline bool is_matrix(uint32_t transform)
{
    return transform == KVC_TRANSFORM_rot || transform == KVC_TRANSFORM_klt;
}

template <bool MATRIX>
__device__ inline void coder_transform(const page_shape &s, const coder_work &w, const page_tile &t, uint32_t k)
{
    const uint8_t *part = w.params + s.part[k];
    switch (s.transform[k]) {
    case KVC_TRANSFORM_had: had_map(s, t); break;
    case KVC_TRANSFORM_smooth: smooth_forward(s, t, part, w.head); break;
    case KVC_TRANSFORM_perm: perm_forward(s, t, part, w.head); break;
    }
    if (MATRIX && s.transform[k] == KVC_TRANSFORM_rot) rot_forward(s, t, part, w.head);
    if (MATRIX && s.transform[k] == KVC_TRANSFORM_klt) klt_forward(s, t, part, w.head);
}

/* Rows first .. of a page, transformed (rows: page_encode.cuh). Those of the tile before have been read. */
template <bool MATRIX, typename ROWS>
__device__ inline void coder_read(const page_shape &s, const coder_work &w, const page_tile &t, const ROWS &rows,
                                  uint32_t first, bool again)
{
    __syncthreads();
    rows(t, first, again);
    __syncthreads();
    for (uint32_t k = 0; k < s.n_transforms; k++) {
        coder_transform<MATRIX>(s, w, t, k);
        __syncthreads();
        each_value(t.n_rows, s.d, [&](uint32_t r, uint32_t i) { t.y[r * s.d + i] = clamp_fp16(t.y[r * s.d + i]); });
        __syncthreads();
    }
}

/* Is the result in memory, not in the tile? */
template <bool MATRIX>
__device__ inline bool coder_undo(const page_shape &s, const coder_work &w, const page_tile &t, uint32_t k,
                                  float *rows)
{
    const uint8_t *part = w.params + s.part[k];
    switch (s.transform[k]) {
    case KVC_TRANSFORM_had: had_map(s, t); break;
    case KVC_TRANSFORM_smooth: smooth_inverse(s, t, part, w.head); break;
    case KVC_TRANSFORM_perm: perm_inverse(s, t, part, w.head); break;
    }
    if (MATRIX && s.transform[k] == KVC_TRANSFORM_rot) rot_inverse(s, t, part, w.head, rows, w.stride);
    if (MATRIX && s.transform[k] == KVC_TRANSFORM_klt) klt_inverse(s, t, part, w.head, rows, w.stride);
    return is_matrix(s.transform[k]);
}

/* Decoded rows to memory. What a matrix makes goes there at once, and comes back for the transform before it. */
template <bool MATRIX>
__device__ inline void coder_write(const page_shape &s, const coder_work &w, const page_tile &t, float *rows)
{
    bool in_memory = false;
    __syncthreads();
    for (uint32_t k = s.n_transforms; k-- > 0;) {
        if (in_memory)
            each_value(t.n_rows, s.d, [&](uint32_t r, uint32_t i) { t.y[r * s.d + i] = rows[r * w.stride + i]; });
        __syncthreads();
        in_memory = coder_undo<MATRIX>(s, w, t, k, rows);
        __syncthreads();
    }
    if (!in_memory)
        each_value(t.n_rows, s.d, [&](uint32_t r, uint32_t i) { rows[r * w.stride + i] = t.y[r * s.d + i]; });
    __syncthreads();
}
#endif
