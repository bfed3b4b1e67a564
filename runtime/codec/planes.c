/* planes.c - planes.h: words of 4 codes, or of 2, are spread over bytes and gathered from them. */
#include "codec/planes.h"
#include "simd.h"

typedef uint64_t word64 __attribute__((may_alias, aligned(2)));
typedef uint32_t word32 __attribute__((may_alias, aligned(2)));
typedef uint16_t word16x8 __attribute__((vector_size(16)));

/* ---- to planes: `shift` bits of each code went into planes before ---- */

KVC_INLINE void gather8(const uint16_t *restrict codes, uint32_t n, uint32_t shift, uint8_t *restrict bytes)
{
    for (uint32_t i = 0; i < n; i++) bytes[i] = (uint8_t)(codes[i] >> shift);
}

KVC_INLINE void gather4(const word32 *restrict codes, uint32_t n, uint32_t shift, uint8_t *restrict bytes)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t fields = codes[i] >> shift & 0x000f000fu;
        bytes[i] = (uint8_t)(fields | fields >> 12);
    }
}

KVC_INLINE void gather2(const word64 *restrict codes, uint32_t n, uint32_t shift, uint8_t *restrict bytes)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t fields = codes[i] >> shift & 0x0003000300030003u;
        bytes[i] = (uint8_t)(fields | fields >> 14 | fields >> 28 | fields >> 42);
    }
}

KVC_INLINE void gather1(const word64 *restrict codes, uint32_t n, uint32_t shift, uint8_t *restrict bytes)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t low = codes[2 * i] >> shift & 0x0001000100010001u;
        uint64_t high = codes[2 * i + 1] >> shift & 0x0001000100010001u;
        uint64_t fields = low | high << 4;
        bytes[i] = (uint8_t)(fields | fields >> 15 | fields >> 30 | fields >> 45);
    }
}

KVC_CLONES void kvci_planes_pack(const uint16_t *codes, uint32_t n, size_t first, uint32_t bits, size_t n_fields,
                                 uint8_t *planes)
{
    for (uint32_t width = 8, shift = 0; width; width /= 2) {
        if (!(bits & width)) continue;
        uint8_t *bytes = planes + first / 8 * width;
        switch (width) {
        case 8: gather8(codes, n, shift, bytes); break;
        case 4: gather4((const word32 *)codes, n / 2, shift, bytes); break;
        case 2: gather2((const word64 *)codes, n / 4, shift, bytes); break;
        case 1: gather1((const word64 *)codes, n / 8, shift, bytes); break;
        }
        planes += n_fields / 8 * width;
        shift += width;
    }
}

/* ---- from planes ---- */

/* The fields of a plane become 16-bit codes, or (shift > 0) their further bits: each byte is spread over its 8 /
 * width codes. */
KVC_INLINE void spread1(const uint8_t *bytes, uint32_t n, uint32_t shift, uint16_t *codes)
{
    const word16x8 digit = {1, 2, 4, 8, 16, 32, 64, 128};
    for (uint32_t i = 0; i < n; i++, codes += 8) {
        word16x8 fields = (word16x8)((((word16x8){0} + bytes[i]) & digit) == digit) & (uint16_t)(1u << shift), held;
        if (shift) {
            memcpy(&held, codes, sizeof held);
            fields |= held;
        }
        memcpy(codes, &fields, sizeof fields);
    }
}

KVC_INLINE void spread2(const uint8_t *restrict bytes, uint32_t n, uint32_t shift, word64 *restrict codes)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t b = bytes[i], fields = ((b | b << 14 | b << 28 | b << 42) & 0x0003000300030003u) << shift;
        codes[i] = shift ? codes[i] | fields : fields;
    }
}

KVC_INLINE void spread4(const uint8_t *restrict bytes, uint32_t n, uint32_t shift, word32 *restrict codes)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t b = bytes[i], fields = ((b | b << 12) & 0x000f000fu) << shift;
        codes[i] = shift ? codes[i] | fields : fields;
    }
}

KVC_INLINE void spread8(const uint8_t *restrict bytes, uint32_t n, uint16_t *restrict codes)
{
    for (uint32_t i = 0; i < n; i++) codes[i] = bytes[i];
}

KVC_CLONES void kvci_planes_unpack(const uint8_t *planes, uint32_t n, size_t first, uint32_t bits, size_t n_fields,
                                   uint16_t *codes)
{
    for (uint32_t width = 8, shift = 0; width; width /= 2) {
        if (!(bits & width)) continue;
        const uint8_t *bytes = planes + first / 8 * width;
        switch (width) {
        case 8: spread8(bytes, n, codes); break;
        case 4: spread4(bytes, n / 2, shift, (word32 *)codes); break;
        case 2: spread2(bytes, n / 4, shift, (word64 *)codes); break;
        case 1: spread1(bytes, n / 8, shift, codes); break;
        }
        planes += n_fields / 8 * width;
        shift += width;
    }
}
