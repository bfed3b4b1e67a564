/* attend_kernel.cu - attention for one pair of codecs and one shape of heads: the body is attend.cuh, specialised by
 * a header of #defines alone (default_params.h has them all, with what they mean). Build with
 *     -DATTEND_PARAMS='"file.h"'
 * The image exports the kernel ATTEND_NAME(attend_layer, attend_batch, attend_work) and ATTEND_NAME_info; where one
 * token's query heads are few columns ATTEND_NAME_few as well, the same for calls that have no more of them. That is
 * a kernel of its own since code that a call has no use for costs it time all the same: instructions are cached.
 * Where the kernel for few columns is the better one for all calls it is ATTEND_NAME, and ATTEND_NAME_few, if there,
 * empty. */
#ifndef ATTEND_PARAMS
#define ATTEND_PARAMS "template/default_params.h"
#endif
#include ATTEND_PARAMS
#include "fragment/single.cuh"
#include "template/attend_few.cuh"
#include "template/attend_info.h"

#define ATTEND_FP16 1
#define ATTEND_INT 2
#define ATTEND_TABLE 3
#define ATTEND_SHARED 4
#define ATTEND_BYTE_TABLE 5
#define ATTEND_SHARED_BYTE_TABLES 6
#define ATTEND_SINGLE_TABLES 7
#define ATTEND_SINGLE_SEGMENTS 8
#define ATTEND_SINGLE_INT 9
#define ATTEND_TOK STAGED_TOK
#define ATTEND_CH STAGED_CH
#define ATTEND_HEAD SINGLE_HEAD
#define ATTEND_STATIC SINGLE_CODE

template <int SYMBOL, int BITS, int SCALE, int SCALE_GROUP, int LATENT, int DIMS, int MOST, int TABLE,
          uint64_t SEGMENTS>
struct side_of;
template <int BITS, int SCALE, int SCALE_GROUP, int LATENT, int DIMS, int MOST, int TABLE, uint64_t SEGMENTS>
struct side_of<ATTEND_FP16, BITS, SCALE, SCALE_GROUP, LATENT, DIMS, MOST, TABLE, SEGMENTS> {
    typedef staged_fp16<LATENT, ATTEND_PAGE, ATTEND_TILE> type;
};
template <int BITS, int SCALE, int SCALE_GROUP, int LATENT, int DIMS, int MOST, int TABLE, uint64_t SEGMENTS>
struct side_of<ATTEND_INT, BITS, SCALE, SCALE_GROUP, LATENT, DIMS, MOST, TABLE, SEGMENTS> {
    typedef staged_int<LATENT, BITS, ATTEND_PAGE, ATTEND_TILE, SCALE, SCALE_GROUP> type;
};
template <int BITS, int SCALE, int SCALE_GROUP, int LATENT, int DIMS, int MOST, int TABLE, uint64_t SEGMENTS>
struct side_of<ATTEND_TABLE, BITS, SCALE, SCALE_GROUP, LATENT, DIMS, MOST, TABLE, SEGMENTS> {
    typedef staged_table<LATENT, DIMS, BITS, ATTEND_PAGE, ATTEND_TILE> type;
};
template <int BITS, int SCALE, int SCALE_GROUP, int LATENT, int DIMS, int MOST, int TABLE, uint64_t SEGMENTS>
struct side_of<ATTEND_BYTE_TABLE, BITS, SCALE, SCALE_GROUP, LATENT, DIMS, MOST, TABLE, SEGMENTS> {
    typedef staged_table<LATENT, DIMS, BITS, ATTEND_PAGE, ATTEND_TILE, true> type;
};
template <int BITS, int SCALE, int SCALE_GROUP, int LATENT, int DIMS, int MOST, int TABLE, uint64_t SEGMENTS>
struct side_of<ATTEND_SHARED, BITS, SCALE, SCALE_GROUP, LATENT, DIMS, MOST, TABLE, SEGMENTS> {
    typedef staged_shared<LATENT, ATTEND_PAGE, ATTEND_TILE, MOST, TABLE> type;
};
template <int BITS, int SCALE, int SCALE_GROUP, int LATENT, int DIMS, int MOST, int TABLE, uint64_t SEGMENTS>
struct side_of<ATTEND_SHARED_BYTE_TABLES, BITS, SCALE, SCALE_GROUP, LATENT, DIMS, MOST, TABLE, SEGMENTS> {
    typedef staged_shared<LATENT, ATTEND_PAGE, ATTEND_TILE, MOST, TABLE, true> type;
};
template <int BITS, int SCALE, int SCALE_GROUP, int LATENT, int DIMS, int MOST, int TABLE, uint64_t SEGMENTS>
struct side_of<ATTEND_SINGLE_TABLES, BITS, SCALE, SCALE_GROUP, LATENT, DIMS, MOST, TABLE, SEGMENTS> {
    typedef single_tables<LATENT, ATTEND_HEAD_DIM, DIMS, SEGMENTS, BITS, SCALE, ATTEND_TILE> codec;
    typedef staged_single<codec, ATTEND_PAGE, ATTEND_TILE> type;
};
template <int BITS, int SCALE, int SCALE_GROUP, int LATENT, int DIMS, int MOST, int TABLE, uint64_t SEGMENTS>
struct side_of<ATTEND_SINGLE_SEGMENTS, BITS, SCALE, SCALE_GROUP, LATENT, DIMS, MOST, TABLE, SEGMENTS> {
    typedef single_segments<LATENT, SEGMENTS, SCALE_GROUP, ATTEND_TILE> codec;
    typedef staged_single<codec, ATTEND_PAGE, ATTEND_TILE> type;
};
template <int BITS, int SCALE, int SCALE_GROUP, int LATENT, int DIMS, int MOST, int TABLE, uint64_t SEGMENTS>
struct side_of<ATTEND_SINGLE_INT, BITS, SCALE, SCALE_GROUP, LATENT, DIMS, MOST, TABLE, SEGMENTS> {
    typedef single_ints<LATENT, BITS, SCALE, SCALE_GROUP, ATTEND_TILE> codec;
    typedef staged_single<codec, ATTEND_PAGE, ATTEND_TILE> type;
};

struct attend_params {
    static const int D = ATTEND_HEAD_DIM, GROUP = ATTEND_GROUP, COLUMNS = ATTEND_COLUMNS, PAGE = ATTEND_PAGE,
                     TILE = ATTEND_TILE, STAGES = ATTEND_STAGES, WARPS = ATTEND_WARPS;
    static const bool SOFTCAP = ATTEND_SOFTCAP;
    typedef side_of<ATTEND_KEY_SYMBOL, ATTEND_KEY_BITS, ATTEND_KEY_SCALE, ATTEND_KEY_SCALE_GROUP, ATTEND_KEY_LATENT,
                    ATTEND_KEY_DIMS, ATTEND_KEY_MOST, ATTEND_KEY_TABLE_BYTES, ATTEND_KEY_SEGMENTS>::type key_side;
    typedef side_of<ATTEND_VALUE_SYMBOL, ATTEND_VALUE_BITS, ATTEND_VALUE_SCALE, ATTEND_VALUE_SCALE_GROUP,
                    ATTEND_VALUE_LATENT, ATTEND_VALUE_DIMS, ATTEND_VALUE_MOST, ATTEND_VALUE_TABLE_BYTES,
                    ATTEND_VALUE_SEGMENTS>::type value_side;
};

static_assert(attend<attend_params>::SHARED_BYTES <= ATTEND_SHARED_BYTES, "more than codegen has counted");

typedef attend_few<attend_params, ATTEND_ROOM> attend_few_params;
static_assert(attend<attend_few_params>::SHARED_BYTES <= ATTEND_ROOM, "more than a block may have");

template <bool FEW> struct main_params_of {
    typedef attend_params type;
};
template <> struct main_params_of<true> {
    typedef attend_few_params type;
};
static const bool FEW_SERVES_ALL = few_serves_all<attend_params>(ATTEND_ROOM);
typedef main_params_of<FEW_SERVES_ALL>::type attend_main_params;
#define ATTEND_JOIN_(a, b) a##b
#define ATTEND_JOIN(a, b) ATTEND_JOIN_(a, b)

#define ATTEND_KERNEL(name, params, is_used)                                                                         \
    extern "C" __global__ void __launch_bounds__(params::WARPS * 32, 1)                                              \
        name(const __grid_constant__ attend_layer layer, const __grid_constant__ attend_batch batch,                 \
             const __grid_constant__ attend_work work)                                                               \
    {                                                                                                                \
        KVC_SHARED(uint8_t, shared);                                                                                 \
        if constexpr (is_used) attend<params>::share(layer, batch, work, shared);                                    \
    }

ATTEND_KERNEL(ATTEND_NAME, attend_main_params, true)
#if ATTEND_GROUP <= FEW_COLUMNS
ATTEND_KERNEL(ATTEND_JOIN(ATTEND_NAME, _few), attend_few_params, !FEW_SERVES_ALL)
#endif

extern "C" __device__ __constant__ attend_info ATTEND_JOIN(ATTEND_NAME, _info) = {
    ATTEND_INFO_VERSION,
    {attend_main_params::COLUMNS, attend_main_params::WARPS, (uint32_t)attend<attend_main_params>::SHARED_BYTES},
#if ATTEND_GROUP <= FEW_COLUMNS
    {FEW_SERVES_ALL ? 0 : FEW_COLUMNS, attend_few_params::WARPS, (uint32_t)attend<attend_few_params>::SHARED_BYTES},
#else
    {0, 0, 0},
#endif
    ATTEND_TILE,
    ATTEND_SOFTCAP,
    ATTEND_TEMPLATE_HASH,
    ATTEND_KEY_TEXT};
