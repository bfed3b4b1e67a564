/* page_launch.cuh - on the host: which kernel a coder takes of a table of them, and how much shared memory. */
#ifndef KERNELS_CODEC_PAGE_LAUNCH_CUH
#define KERNELS_CODEC_PAGE_LAUNCH_CUH
#include "codec/page_describe.cuh"
#include "codec/page_encode.cuh"

/* The kernels of a template <int KIND, bool MATRIX> by kind, without and with matrices. */
#define PAGE_KERNELS(name)                                                                                           \
    {                                                                                                                \
        {name<PAGE_FP16, false>, name<PAGE_FP16, true>}, {name<PAGE_INT, false>, name<PAGE_INT, true>},              \
            {name<PAGE_TABLE, false>, name<PAGE_TABLE, true>}, {name<PAGE_SEG, false>, name<PAGE_SEG, true>},        \
    }

static inline int page_kind_of(const kvc_codec *c)
{
    return c->symbol == KVC_SYMBOL_fp16  ? PAGE_FP16
           : c->symbol == KVC_SYMBOL_int ? PAGE_INT
           : c->symbol == KVC_SYMBOL_seg ? PAGE_SEG
                                         : PAGE_TABLE;
}

/* Of a table of kernels. */
template <typename KERNEL> static inline KERNEL *page_kernel_of(KERNEL *const (&kernels)[4][2], const kvc_codec *c)
{
    bool matrix = false;
    for (uint32_t i = 0; i < c->n_transforms; i++) matrix |= is_matrix(c->transform[i]);
    return kernels[page_kind_of(c)][matrix];
}

static inline size_t page_shared_bytes(const page_shape &s)
{
    return ((size_t)s.tile * s.d + s.scratch) * sizeof(float) + s.ranges * s.d * sizeof(float2);
}
#endif
