/* planes.cuh - codes to a stream in planes, from which fragment/planes.cuh takes them: one for each of the binary
 * digits 8, 4, 2, 1 of the bits, the first with the lowest bits of every code. */
#ifndef KERNELS_CODEC_PLANES_CUH
#define KERNELS_CODEC_PLANES_CUH
#include "codec/page_shape.cuh"
#include "fragment/planes.cuh"

/* n of n_fields, both multiples of 8: code(i) for i = 0 .. n - 1. Eight of them, from i = 8 k on, are the eight
 * fields from 8 place(k) on. A thread for a byte. */
template <typename PLACE, typename CODE>
__device__ inline void planes_pack(uint8_t *planes, uint32_t n, uint32_t bits, uint32_t n_fields, PLACE place,
                                   CODE code)
{
    for (uint32_t width = 8, shift = 0; width; width /= 2) {
        if (!(bits & width)) continue;
        uint32_t in_byte = 8 / width, mask = (1u << width) - 1u;
        for (uint32_t b = threadIdx.x; b < n / in_byte; b += blockDim.x) {
            uint32_t byte = 0;
            for (uint32_t k = 0; k < in_byte; k++) byte |= (code(b * in_byte + k) >> shift & mask) << (k * width);
            planes[place(b / width) * width + b % width] = (uint8_t)byte;
        }
        planes += n_fields / in_byte;
        shift += width;
    }
}
#endif
