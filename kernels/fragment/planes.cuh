/* planes.cuh - codes from a stream in planes (runtime/codec/planes.h): one for each of the binary digits 8, 4, 2, 1
 * of the bits, the first with the lowest bits of every code. */
#ifndef KERNELS_FRAGMENT_PLANES_CUH
#define KERNELS_FRAGMENT_PLANES_CUH
#include <stdint.h>

__device__ inline uint32_t planes_code(const uint8_t *planes, uint32_t field, uint32_t bits, uint32_t n_fields)
{
    uint32_t code = 0;
    for (uint32_t width = 8, shift = 0; width; width /= 2) {
        if (!(bits & width)) continue;
        uint32_t in_byte = 8 / width;
        code |= (planes[field / in_byte] >> (field % in_byte * width) & ((1u << width) - 1u)) << shift;
        planes += n_fields / in_byte;
        shift += width;
    }
    return code;
}

#endif
