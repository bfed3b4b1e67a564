/* weights_read.c - values of a tensor as fp32. Each block is converted and checked in one pass; where the
 * check finds a NaN or an infinity, a second pass over that block finds which. */
#include <assert.h>
#include <string.h>
#include "kvc/clones.h"
#include "weights_private.h"

/* Loads from a map have any alignment. */
typedef uint16_t __attribute__((aligned(1), may_alias)) any_u16;
typedef uint32_t __attribute__((aligned(1), may_alias)) any_u32;

#ifdef KVC_HAS_CLONES
#define FAST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FAST
#endif

/* Each returns whether all n values are finite. */
FAST static int convert_fp16(const any_u16 *src, size_t n, any_u32 *dst)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t magnitude = src[i] & 0x7fffu, sign = (src[i] & 0x8000u) << 16;
        union {
            float value;
            uint32_t bits;
        } subnormal = {(float)(int32_t)magnitude * 0x1p-24f}; /* exact where the exponent field is 0 */
        uint32_t normal = (magnitude << 13) + (112u << 23);
        uint32_t small = 0u - (magnitude < 0x400u); /* a mask: a branch would keep the loop scalar */
        dst[i] = (subnormal.bits & small) | (normal & ~small) | sign;
        bad |= magnitude >= 0x7c00u;
    }
    return !bad;
}

FAST static int convert_bf16(const any_u16 *src, size_t n, any_u32 *dst)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)src[i] << 16;
        dst[i] = bits;
        bad |= (bits & 0x7fffffffu) >= 0x7f800000u;
    }
    return !bad;
}

FAST static int convert_fp32(const any_u32 *src, size_t n, any_u32 *dst)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        dst[i] = src[i];
        bad |= (src[i] & 0x7fffffffu) >= 0x7f800000u;
    }
    return !bad;
}

static int convert(kvc_dtype dtype, const void *src, size_t n, void *dst)
{
    switch (dtype) {
    case KVC_F16: return convert_fp16(src, n, dst);
    case KVC_BF16: return convert_bf16(src, n, dst);
    case KVC_F32: return convert_fp32(src, n, dst);
    }
    return 0;
}

/* The first value of a block that is not finite. */
static kvc_status fail_nonfinite(const tensor *t, uint64_t first, size_t n, const uint8_t *src, kvc_error *err)
{
    size_t size = dtype_bytes(t->dtype), i = 0;
    uint32_t bits;
    while (i < n && convert(t->dtype, src + i * size, 1, &bits)) i++;
    return kvc_fail(err, KVC_NONFINITE, "%s: tensor '%.120s': value %llu is NaN or infinite", t->file, t->name,
                    (unsigned long long)(first + i));
}

kvc_status weights_read(const weights *w, const tensor *t, uint64_t first, uint64_t n, float *dst, kvc_error *err)
{
    enum { BLOCK = 8192 };
    (void)w;
    if (t->foreign) return kvc_fail(err, KVC_FORMAT, "%s: tensor '%.120s' has %s", t->file, t->name, t->foreign);
    assert(first <= t->n && n <= t->n - first);
    size_t size = dtype_bytes(t->dtype);
    const uint8_t *src = (const uint8_t *)t->data + first * size;
    for (uint64_t done = 0; done < n; done += BLOCK) {
        size_t block = n - done < BLOCK ? (size_t)(n - done) : BLOCK;
        if (!convert(t->dtype, src + done * size, block, dst + done))
            return fail_nonfinite(t, first + done, block, src + done * size, err);
    }
    return KVC_OK;
}
