/* isa.h - functions compiled for several instruction sets. Results may differ between machines, not between runs. */
#ifndef CALIB_BACKEND_ISA_H
#define CALIB_BACKEND_ISA_H
#include "kvc/clones.h"

#ifdef KVC_HAS_CLONES
#define FIT_CLONES __attribute__((target_clones("default", "arch=haswell", "avx512f")))
#else
#define FIT_CLONES
#endif

#define FIT_INLINE static inline __attribute__((always_inline))
#endif
