/* isa.h - functions compiled for several instruction sets. Results may differ between machines, not between runs. */
#ifndef CALIB_FIT_ISA_H
#define CALIB_FIT_ISA_H

/* The loader picks a clone. The sanitizers start too late for the resolvers. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
#define FIT_CLONES __attribute__((target_clones("default", "arch=haswell", "avx512f")))
#else
#define FIT_CLONES
#endif

#define FIT_INLINE static inline __attribute__((always_inline))
#endif
