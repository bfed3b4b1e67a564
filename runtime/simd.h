/* simd.h - how the hot loops are compiled: several clones per function, one result.
 *
 * A clone may only differ in instructions, never in a bit of its result. Hence sums run over eight fixed
 * lanes (v8), whatever the machine's vector length, contraction is off for the whole library, and nothing is
 * reassociated. */
#ifndef RUNTIME_SIMD_H
#define RUNTIME_SIMD_H
#include <stdint.h>
#include <string.h>
#include "kvc/clones.h"

#ifdef KVC_HAS_CLONES
#define KVC_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define KVC_CLONES
#endif

#define KVC_INLINE static inline __attribute__((always_inline))

/* The machine's own widening of fp16 gives the same values eight at a time. */
#if defined(__x86_64__) && defined(__GNUC__) && (!defined(__clang__) || __clang_major__ >= 16)
#include <immintrin.h>
#define KVC_HAS_F16C
KVC_INLINE int kvci_has_f16c(void)
{
    return __builtin_cpu_supports("avx") && __builtin_cpu_supports("f16c");
}
#endif

#define KVC_LANES 8u
typedef float v8 __attribute__((vector_size(32)));
typedef int32_t v8i __attribute__((vector_size(32)));
/* The same at any alignment, for loads and stores. */
typedef float v8u __attribute__((vector_size(32), aligned(4), may_alias));

KVC_INLINE v8 v8_load(const float *x)
{
    return *(const v8u *)x;
}

KVC_INLINE void v8_store(float *x, v8 value)
{
    *(v8u *)x = value;
}

KVC_INLINE v8 v8_all(float x)
{
    return (v8){x, x, x, x, x, x, x, x};
}

KVC_INLINE v8 v8_choose(v8i mask, v8 yes, v8 no)
{
    return (v8)((mask & (v8i)yes) | (~mask & (v8i)no));
}

#endif
