/* attend_few.cuh - how the kernel for calls of up to four columns is cut, given the one for more of them; of shared
 * codes in products of bytes it is the one for all calls.
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

#define FEW_TABLE (32 << 10) /* bytes of a table of shared codes: entries of a word in 32 copies */
#define FEW_AS_HALVES -1

/* A side whose tables of shared codes are byte tables, with TABLE_BYTES for each; or FEW_AS_HALVES, as if they were
 * none. Other sides are as they are. */
template <typename SIDE, int TABLE_BYTES> struct few_side {
    typedef SIDE type;
};
template <int DIM, int PAGE, int TILE, int MOST, int BYTES, int TABLE_BYTES>
struct few_side<staged_shared<DIM, PAGE, TILE, MOST, BYTES, true>, TABLE_BYTES> {
    typedef staged_shared<DIM, PAGE, TILE, MOST, TABLE_BYTES, true> type;
};
template <int DIM, int PAGE, int TILE, int MOST, int BYTES>
struct few_side<staged_shared<DIM, PAGE, TILE, MOST, BYTES, true>, FEW_AS_HALVES> {
    typedef staged_shared<DIM, PAGE, TILE, MOST, BYTES> type;
};

template <typename P, int N_STAGES, int N_WARPS, int TABLE_BYTES = FEW_AS_HALVES> struct attend_few_cut : P {
    static const int COLUMNS = FEW_COLUMNS, STAGES = N_STAGES, WARPS = N_WARPS;
    typedef typename few_side<typename P::key_side, TABLE_BYTES>::type key_side;
    typedef typename few_side<typename P::value_side, TABLE_BYTES>::type value_side;
};

struct few_cut {
    int stages, warps, table_bytes;
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

/* The most stages, 4 to 2, of FEW_WARPS warps in `room` bytes, or as many warps and stages as P has. */
template <typename P, int STAGES = 4> __host__ __device__ constexpr few_cut few_plain(size_t room)
{
    if (few_gains<P>() && room >= FEW_ROOM && attend<attend_few_cut<P, STAGES, FEW_WARPS>>::SHARED_BYTES <= room)
        return few_cut{STAGES, FEW_WARPS, FEW_AS_HALVES};
    if constexpr (STAGES > 2)
        return few_plain<P, STAGES - 1>(room);
    else
        return few_cut{P::STAGES, P::WARPS, FEW_AS_HALVES};
}

/* Of shared codes in products of bytes: the same with tables of FEW_TABLE bytes, then smaller ones, then fewer warps.
 * Heads of more than 64 channels leave twelve warps too few registers. */
template <typename P> __host__ __device__ constexpr int few_warps(void)
{
    return P::key_side::D <= 64 && P::value_side::D <= 64 ? FEW_WARPS : 8;
}
template <typename P, int TABLE_BYTES = FEW_TABLE, int WARPS = few_warps<P>(), int STAGES = 4>
__host__ __device__ constexpr few_cut few_shared(size_t room)
{
    if (attend<attend_few_cut<P, STAGES, WARPS, TABLE_BYTES>>::SHARED_BYTES <= room)
        return few_cut{STAGES, WARPS, TABLE_BYTES};
    if constexpr (STAGES > 2)
        return few_shared<P, TABLE_BYTES, WARPS, STAGES - 1>(room);
    else if constexpr (WARPS > 8)
        return few_shared<P, TABLE_BYTES, 8>(room);
    else if constexpr (TABLE_BYTES > FEW_TABLE / 4)
        return few_shared<P, TABLE_BYTES / 2, WARPS>(room);
    else if constexpr (WARPS > 2)
        return few_shared<P, FEW_TABLE, WARPS / 2>(room);
    else
        return few_plain<P>(room);
}

template <typename P> __host__ __device__ constexpr few_cut few_cut_of(size_t room)
{
    typedef bytes_fit<attend_few_cut<P, 1, 1, FEW_TABLE>> bytes;
    if constexpr (bytes::FIT && bytes::SHARED)
        return few_shared<P>(room);
    else
        return few_plain<P>(room);
}

/* Is it better for more columns, too, going over the units once for each four of them? Of shared codes the kernel of
 * halves takes three times as long for eight columns as this one for four (decision 0014). */
template <typename P> __host__ __device__ constexpr bool few_serves_all(size_t room)
{
    return few_cut_of<P>(room).table_bytes != FEW_AS_HALVES;
}

/* In blocks of up to ROOM bytes of shared memory. */
template <typename P, size_t ROOM>
using attend_few =
    attend_few_cut<P, few_cut_of<P>(ROOM).stages, few_cut_of<P>(ROOM).warps, few_cut_of<P>(ROOM).table_bytes>;

#endif
