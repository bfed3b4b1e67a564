/* uniform.h - what "int" and "seg" share: uniform codes with an fp16 scale and minimum. FORMAT.md, "int".
 *
 * For a group with extremes lo and hi:  m = lo rounded down to fp16,  s = (hi - m) / (2^b - 1) rounded up to
 * fp16, code = clamp(rint((x - m) / s), 0, 2^b - 1),  decoded m + s * code.  Rounding outwards means that
 * nothing clips, so the error is at most s / 2 and a few roundings. The exception: s saturates at 65504,
 * which only one bit can reach. A group of one value that fp16 represents has s = 0 and codes 0. */
#ifndef RUNTIME_CODEC_UNIFORM_H
#define RUNTIME_CODEC_UNIFORM_H
#include "codec/half.h"
#include "codec/pieces.h"
#include "simd.h"

typedef struct row_scale { /* of each channel, for the rows at hand */
    float scale[KVC_MAX_ROW], minimum[KVC_MAX_ROW];
} row_scale;

/* fp16 scale and minimum of the range lo .. hi. */
static inline void uniform_choose(float lo, float hi, float levels, uint16_t *scale, uint16_t *minimum)
{
    /* -0 becomes +0: which of two zeros is least or greatest is not defined */
    *minimum = kvc_fp16_from_float_down(lo + 0.0f);
    *scale = kvc_fp16_from_float_up((hi - half_to_float(*minimum)) / levels + 0.0f);
}

/* code = rint((x - m) / s); where s is 0, x - m is 0 too. Adding 2^23 leaves the rounded integer in the low
 * bits. */
KVC_INLINE int32_t uniform_code(float x, float scale, float minimum, int32_t top)
{
    float steps = (x - minimum) / (scale > 0.0f ? scale : 1.0f);
    int32_t code = (int32_t)(half_bits(steps + 0x1p23f) & 0x7fffffu);
    return code < top ? code : top;
}

/* Of n columns of `rows` rows that are `stride` apart: fp16 scales and minima [n], and channels first .. of `range`.
 */
void kvci_uniform_columns(const float *y, uint32_t rows, uint32_t stride, uint32_t n, float levels, uint16_t *scales,
                          uint16_t *minima, row_scale *range, uint32_t first);
#endif
