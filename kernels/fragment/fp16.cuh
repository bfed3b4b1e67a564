/* fp16.cuh - fp16 rows as operands (pairs.cuh): of a codec, and of sinks and window. */
#ifndef KERNELS_FRAGMENT_FP16_CUH
#define KERNELS_FRAGMENT_FP16_CUH
#include "fragment/pairs.cuh"

template <int DIM> struct fp16_keys {
    static const int D = DIM, CODES = 0;
    static const bool NEIGHBOURS = true;
    static const int CHUNK = fragment_chunk(DIM / 2), N_CHUNKS = DIM / 2 / CHUNK, WORDS = CHUNK / 4;

    __device__ static __forceinline__ int power(int) { return 0; }
    __device__ static __forceinline__ void channels(int h, int t, int *first, int *second)
    {
        *first = (h / WORDS * 4 + t) * CHUNK / 2 + h % WORDS * 2;
        *second = *first + 1;
    }
    __device__ static __forceinline__ void load(const uint8_t *rows, const uint8_t *, int row, int lane,
                                                uint32_t *pairs)
    {
        int t = lane % 4;
#pragma unroll
        for (int c = 0; c < N_CHUNKS; c++)
            load_words<CHUNK>(rows + row * DIM * 2 + (c * 4 + t) * CHUNK, pairs + c * WORDS);
    }
};

template <int DIM> struct fp16_values {
    static const int D = DIM, CODES = 0;
    static const int CHUNK = fragment_chunk(DIM / 4), N_CHUNKS = DIM / 4 / CHUNK, WORDS = CHUNK / 4;
    static_assert(CHUNK >= 4, "a lane takes pairs of channels");

    __device__ static __forceinline__ int power(int) { return 0; }
    __device__ static __forceinline__ int channel(int s, int g)
    {
        return (s / 2 / WORDS * 8 + g) * CHUNK / 2 + s / 2 % WORDS * 2 + s % 2;
    }
    __device__ static __forceinline__ void load(const uint8_t *rows, const uint8_t *, int token0, int token1,
                                                int lane, uint32_t *slots)
    {
        int g = lane / 4;
#pragma unroll
        for (int c = 0; c < N_CHUNKS; c++) {
            uint32_t a[WORDS], b[WORDS];
            load_words<CHUNK>(rows + token0 * DIM * 2 + (c * 8 + g) * CHUNK, a);
            load_words<CHUNK>(rows + token1 * DIM * 2 + (c * 8 + g) * CHUNK, b);
#pragma unroll
            for (int w = 0; w < WORDS; w++) {
                slots[(c * WORDS + w) * 2] = __byte_perm(a[w], b[w], 0x5410);
                slots[(c * WORDS + w) * 2 + 1] = __byte_perm(a[w], b[w], 0x7632);
            }
        }
    }
};

#endif
