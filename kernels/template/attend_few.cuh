/* attend_few.cuh - how the kernel for calls of up to four columns is cut, given the one for more of them.
 *
 * Four columns need so few registers that twelve warps have enough of them, where codes are multiplied as bytes or
 * are those of tables. Twelve hide more of each other's waiting than eight: 3 to 8 % of the time of contexts of 8k
 * and more, unless tiles are so large that memory is what is waited for (measured, decision 0014). */
#ifndef KERNELS_TEMPLATE_ATTEND_FEW_CUH
#define KERNELS_TEMPLATE_ATTEND_FEW_CUH
#include "template/attend.cuh"

#define FEW_COLUMNS 4
#define FEW_WARPS 12
#define FEW_TILE (8 << 10)   /* bytes: of larger ones eight warps are as good */
#define FEW_ROOM (200 << 10) /* bytes of shared memory: with less it was not measured */

template <typename P, int N_STAGES, int N_WARPS> struct attend_few_cut : P {
    static const int COLUMNS = FEW_COLUMNS, STAGES = N_STAGES, WARPS = N_WARPS;
};

/* Are twelve warps better, if there is room for them? */
template <typename P> __host__ __device__ constexpr bool few_gains(void)
{
    typedef typename P::key_side key_side;
    typedef typename P::value_side value_side;
    bool tables = key_side::ENTRIES && value_side::ENTRIES;
    return (tables || bytes_fit<attend_few_cut<P, 1, 1>>::FIT) && P::D <= 128 && key_side::D <= 128 &&
           value_side::D <= 128 && key_side::BYTES + value_side::BYTES <= FEW_TILE;
}

/* The most stages, 4 to 2, of FEW_WARPS warps in `room` bytes; 0: as many warps and stages as P has. */
template <typename P, int STAGES = 4> __host__ __device__ constexpr int few_stages(size_t room)
{
    if (!few_gains<P>() || room < FEW_ROOM) return 0;
    if (attend<attend_few_cut<P, STAGES, FEW_WARPS>>::SHARED_BYTES <= room) return STAGES;
    if constexpr (STAGES > 2)
        return few_stages<P, STAGES - 1>(room);
    else
        return 0;
}

/* In blocks of up to ROOM bytes of shared memory. */
template <typename P, size_t ROOM, int STAGES = few_stages<P>(ROOM)>
using attend_few = attend_few_cut<P, STAGES ? STAGES : P::STAGES, STAGES ? FEW_WARPS : P::WARPS>;

#endif
