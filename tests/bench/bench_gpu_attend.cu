/* bench_gpu_attend.cu - decode attention over compressed caches on one GPU, beside the memory's streaming read in the
 * same run.
 *
 *     bench_gpu_attend [case [queries]]    cases whose name contains `case`, or all; query tokens of each sequence, 1
 *
 * One layer, 8 KV heads unless said; random codes, scales and queries; buffers of more than twice the second-level
 * cache, of which each launch takes the next. All kernels of a call (queries, attention, merge) in one CUDA
 * graph; medians of REPEATS replays. "read" is every byte of pages and fp16 rows that a call has to look at. */
#include <cuda_fp16.h>
#include <math.h>
#include <numeric>
#include "../../runtime/cuda/costs.h"
#include "../gpu/attend_params.h"
#include "gpu_timing.cuh"

#define SINKS 4u
#define WINDOW 64u

static int n_multiprocessors;
static uint32_t n_queries = 1; /* of a sequence */
static double ceiling;         /* bytes a second */

struct load {
    uint32_t batch, tokens;
};

/* Codes of each head where heads share them out: with a head of 128 channels 16 and 32 on average, 1 and 2 bits. */
#define HEADS 8
static const uint32_t shared_1[HEADS] = {12, 20, 14, 18, 10, 22, 15, 17},
                      shared_2[HEADS] = {24, 40, 28, 36, 20, 44, 30, 34};

struct block_shape {
    uint32_t bytes, codes; /* behind the codes lie scales and minima */
};

/* Pages of n_heads blocks of keys, then of values: random codes, scales of .016 to .03. */
__global__ void fill_pages(uint32_t *words, size_t n, uint32_t n_heads, block_shape key, block_shape value,
                           uint64_t seed)
{
    uint32_t page = n_heads * (key.bytes + value.bytes);
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
        uint32_t at = (uint32_t)(i * 4 % page), x = hashed(i + seed);
        bool is_value = at >= n_heads * key.bytes;
        uint32_t in_block = is_value ? (at - n_heads * key.bytes) % value.bytes : at % key.bytes;
        words[i] = in_block < (is_value ? value.codes : key.codes) ? x : (x & 0x03ff03ffu) | 0x24002400u;
    }
}

__global__ void fill_floats(float *x, size_t n, float scale)
{
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x)
        x[i] = scale * ((float)(hashed(i) >> 8) * 0x1p-23f - 1.0f);
}

/* bfloat16 of .06 to .13 and their negatives. */
__global__ void fill_map(uint32_t *words, size_t n)
{
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x)
        words[i] = (hashed(i) & 0x807f807fu) | 0x3d803d80u;
}

__global__ void fill_halves(uint16_t *x, size_t n)
{
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x)
        x[i] = __half_as_ushort(__float2half_rn((float)(hashed(i) >> 8) * 0x1p-23f - 1.0f));
}

/* Byte tables of a step TABLE_STEP: integers of -127 .. 127 times it. */
#define TABLE_STEP 0x1p-7f
__global__ void fill_table(uint16_t *x, size_t n)
{
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x)
        x[i] = __half_as_ushort(__float2half_rn((float)((int)(hashed(i) % 255u) - 127) * TABLE_STEP));
}

/* Of a page of one head, of shared codes on average: the codes of its tiles, then scales, those that tiles share
 * once. */
template <typename P, typename SIDE> static block_shape block_of(const uint32_t *counts)
{
    uint32_t tiles = P::PAGE / P::TILE, codes = SIDE::BYTES, times = tiles;
    if constexpr (SIDE::SCALE != STAGED_NONE) codes = SIDE::SCALES;
    if constexpr (SIDE::SCALE == STAGED_CH)
        if (SIDE::TOKENS_OF_SCALE > P::TILE) times = P::PAGE / SIDE::TOKENS_OF_SCALE;
    if (counts) {
        uint32_t n = std::accumulate(counts, counts + HEADS, 0u) / HEADS;
        return block_shape{n * P::PAGE, n * P::PAGE};
    }
    return block_shape{codes * tiles + (SIDE::BYTES - codes) * times, codes * tiles};
}

/* counts: of shared codes, on the sides that have them. */
template <typename P> static void time_case(const char *name, load what, const uint32_t *counts)
{
    const uint32_t n_heads = HEADS;
    typedef attend<P> kernel;
    typedef typename P::key_side key_side;
    typedef typename P::value_side value_side;
    const uint32_t *of_keys = key_side::TABLE ? counts : NULL, *of_values = value_side::TABLE ? counts : NULL;
    block_shape key = block_of<P, key_side>(of_keys), value = block_of<P, value_side>(of_values);
    uint32_t d = P::D;
    uint32_t packed = (what.tokens - SINKS - WINDOW) / P::PAGE * P::PAGE, exact = what.tokens - packed;
    uint32_t n_pages = packed / P::PAGE, capacity = SINKS + WINDOW + P::PAGE;
    size_t page_bytes = (size_t)n_heads * (key.bytes + value.bytes), pages = (size_t)what.batch * n_pages;
    size_t read = pages * page_bytes + (size_t)what.batch * exact * n_heads * d * 4;
    int copies =
        (int)std::min<size_t>(ROUNDS, (size_t)(200u << 20) / read + 1); /* of the pages: never from the cache */
    device_arena a;
    std::vector<uint8_t *> pools;
    for (int i = 0; i < copies; i++) {
        pools.push_back(a.make<uint8_t>(pages * page_bytes));
        fill_pages<<<4096, 256>>>((uint32_t *)pools.back(), pages * page_bytes / 4, n_heads, key, value,
                                  (uint64_t)i << 40);
    }
    std::vector<uint32_t> table((size_t)what.batch * n_pages), slots(what.batch), length(what.batch, what.tokens),
        packs(what.batch, packed);
    for (size_t i = 0; i < table.size(); i++) table[i] = (uint32_t)i;
    for (size_t i = table.size(); i > 1; i--) std::swap(table[i - 1], table[(i * 2654435761u >> 3) % i]);
    for (uint32_t i = 0; i < what.batch; i++) slots[i] = i;
    size_t rows = (size_t)what.batch * n_queries * n_heads * P::GROUP,
           n_rows = (size_t)what.batch * 2 * n_heads * capacity * d;
    uint32_t n_blocks = (uint32_t)n_multiprocessors;
    attend_layer l = {};
    l.page_bytes = page_bytes, l.value_offset = (uint64_t)n_heads * key.bytes;
    l.key_block = key.bytes, l.value_block = value.bytes;
    uint16_t *fp16 = a.make<uint16_t>(n_rows), *tables = a.make<uint16_t>(1 << 16);
    fill_halves<<<1024, 256>>>(fp16, n_rows);
    fill_table<<<64, 256>>>(tables, 1 << 16);
    l.rows = fp16, l.key_table = tables, l.value_table = tables;
    for (int i = 0; i < ATTEND_LENGTHS; i++) l.key_steps[i] = l.value_steps[i] = TABLE_STEP;
    uint32_t costs[HEADS + CUDA_MORE_COSTS];
    if (of_keys) l.key_counts = a.copy(of_keys, HEADS);
    if (of_values) l.value_counts = a.copy(of_values, HEADS);
    if (counts) {
        cuda_word_costs(HEADS, d, of_keys, of_values, costs);
        l.costs = a.copy(costs, HEADS + CUDA_MORE_COSTS);
    }
    l.page_table = a.copy(table.data(), table.size());
    l.length = a.copy(length.data(), length.size());
    l.packed = a.copy(packs.data(), packs.size());
    l.page_stride = n_pages, l.capacity = capacity, l.n_heads = n_heads, l.sinks = SINKS;
    l.key_latent = key_side::D, l.value_latent = value_side::D;
    if (key_side::ENTRIES || counts) { /* a basis: queries and outputs go through it */
        uint32_t *maps = a.make<uint32_t>(n_heads * attend_map_words(d, d));
        float *bias = a.make<float>(n_heads * d);
        fill_map<<<1024, 256>>>(maps, n_heads * attend_map_words(d, d));
        fill_floats<<<64, 256>>>(bias, n_heads * d, 0.1f);
        l.fold = l.unfold = maps, l.bias = l.mean = bias;
    }
    attend_work w = {};
    w.latent = a.make<float>(rows * d), w.query_bias = a.make<float>(rows);
    w.units = a.make<uint32_t>(2 * (what.batch + 1));
    w.sequences = a.make<attend_sequence>(what.batch);
    w.results = (uint32_t(*)[2])a.make<uint32_t>(4 * n_heads * what.batch);
    w.partial =
        a.make<float>(n_results<P>(n_heads, what.batch, n_blocks, n_queries) * P::COLUMNS * result_floats(d, d));
    float *q = a.make<float>(rows * d), *out = a.make<float>(rows * d);
    fill_floats<<<1024, 256>>>(q, rows * d, 1.0f);
    attend_batch b = {};
    b.queries = q, b.out = out;
    b.n_sequences = what.batch, b.n_queries = n_queries, b.score_scale = 1.0f / sqrtf((float)d);
    describe_call<P>(&b, slots.data(), a.copy(slots.data(), slots.size()));
    device_check(
        cudaFuncSetAttribute(attend_pages<P>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)kernel::SHARED_BYTES),
        name);
    device_sync("fill");
    double seconds = time_graph([&](cudaStream_t stream, int i) {
        l.pool = pools[(size_t)i % pools.size()];
        attend_launch<P>(l, b, w, n_blocks, 0, stream);
    });
    double page_seconds = time_graph([&](cudaStream_t stream, int i) {
        l.pool = pools[(size_t)i % pools.size()];
        attend_pages<P><<<n_blocks, P::WARPS * 32, kernel::SHARED_BYTES, stream>>>(l, b, w);
    });
    double fp16_seconds =
        (double)what.batch * what.tokens * n_heads * d * 4 / ceiling; /* of reading fp16 at the ceiling */
    printf(
        "%-22s %3u x %6u  d %3u G %u  %7.1f us (pages %7.1f)  %5.0f GB/s  %.2f of the ceiling  %5.2f x fp16 at it\n",
        name, what.batch, what.tokens, d, P::GROUP, seconds * 1e6, page_seconds * 1e6, (double)read / seconds * 1e-9,
        (double)read / seconds / ceiling, fp16_seconds / seconds);
    fflush(stdout);
}

template <int D, int G, int TILE, int STAGES, int WARPS, typename KEY, typename VALUE>
static void time_loads(const char *name, const char *only, const uint32_t *counts = NULL)
{
    static const load loads[] = {{16, 32768}, {1, 131072}, {64, 8192}, {16, 8192}, {1, 32768}, {1, 4096}};
    if (!strstr(name, only)) return;
    typedef attend_params<D, G, 8, TILE, STAGES, WARPS, KEY, VALUE> P;
    for (load l : loads) with_columns<P>(n_queries, [&](auto p) { time_case<decltype(p)>(name, l, counts); });
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : "";
    if (argc > 2) n_queries = (uint32_t)atoi(argv[2]);
    if (n_queries < 1 || n_queries > 16) return 2;
    cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, 0) != cudaSuccess) {
        puts("skipped: no GPU");
        return 77;
    }
    n_multiprocessors = p.multiProcessorCount;
    printf("%s, %d multiprocessors; %u queries a sequence\n", p.name, n_multiprocessors, n_queries);
    ceiling = measure_ceiling(n_multiprocessors);
    time_loads<128, 4, 16, 3, 8, half_rows<128, 16>, half_rows<128, 16>>("fp16", only);
    time_loads<128, 4, 32, 3, 8, int_ch<128, 8, 32, 64>, int_tok<128, 8, 32>>("int8.ch64 int8.tok", only);
    time_loads<128, 4, 64, 3, 8, int_ch<128, 4, 64, 64>, int_tok<128, 4, 64>>("int4.ch64 int4.tok", only);
    time_loads<128, 4, 64, 3, 8, int_ch<128, 4, 64, 64>, int_tok<128, 2, 64>>("int4.ch64 int2.tok", only);
    time_loads<128, 4, 64, 4, 8, int_ch<128, 2, 64, 64>, int_tok<128, 2, 64>>("int2.ch64 int2.tok", only);
    time_loads<128, 4, 64, 3, 8, int_ch<128, 4, 64, 64>, int_ch<128, 4, 64, 64>>("int4.ch64 int4.ch64", only);
    time_loads<128, 4, 64, 4, 8, int_ch<128, 2, 64, 64>, int_tok<128, 2, 64, 32>>("int2.ch64 int2.tok32", only);
    time_loads<128, 4, 32, 4, 8, table<128, 2, 8, 32>, table<128, 2, 8, 32>>("vq2x8+klt", only);
    time_loads<128, 4, 64, 3, 8, table<128, 2, 6, 64>, table<128, 2, 6, 64>>("vq2x6+klt", only);
    time_loads<128, 4, 64, 4, 8, table<128, 4, 8, 64>, table<128, 4, 8, 64>>("vq4x8+klt fp16", only);
    time_loads<128, 4, 64, 4, 8, table<128, 8, 8, 64>, table<128, 8, 8, 64>>("vq8x8+klt fp16", only);
    time_loads<128, 4, 64, 4, 8, byte_table<128, 4, 64>, byte_table<128, 4, 64>>("vq4x8+klt", only);
    time_loads<128, 4, 64, 4, 8, byte_table<128, 8, 64>, byte_table<128, 8, 64>>("vq8x8+klt", only);
    time_loads<128, 4, 64, 2, 8, byte_shared<128, 64, 24>, byte_shared<128, 64, 24>>("vq[8]x8+klt", only, shared_1);
    time_loads<128, 4, 64, 2, 8, byte_shared<128, 64, 44>, byte_shared<128, 64, 44>>("vq[16]x8+klt", only, shared_2);
    time_loads<128, 4, 32, 3, 8, shared<128, 32, 44>, shared<128, 32, 44>>("vq[16]x8+klt fp16", only, shared_2);
    time_loads<128, 4, 64, 2, 8, int_ch<128, 4, 64, 64>, byte_shared<128, 64, 44>>("int4.ch64 vq[16]x8+klt", only,
                                                                                   shared_2);
    time_loads<128, 4, 32, 2, 8, byte_shared<128, 32, 44>, int_tok<128, 6, 32>>("vq[16]x8+klt int6.tok", only,
                                                                                shared_2);
    time_loads<128, 1, 64, 3, 8, int_ch<128, 4, 64, 64>, int_tok<128, 4, 64>>("G1 int4.ch64 int4.tok", only);
    time_loads<128, 8, 64, 3, 8, int_ch<128, 4, 64, 64>, int_tok<128, 4, 64>>("G8 int4.ch64 int4.tok", only);
    time_loads<64, 4, 64, 3, 8, int_ch<64, 4, 64, 64>, int_tok<64, 4, 64>>("d64 int4.ch64 int4.tok", only);
    time_loads<128, 8, 64, 2, 8, byte_shared<128, 64, 44>, byte_shared<128, 64, 44>>("G8 vq[16]x8+klt", only,
                                                                                     shared_2);
    time_loads<64, 4, 64, 2, 8, byte_shared<64, 64, 24>, byte_shared<64, 64, 24>>("d64 vq[16]x8+klt", only, shared_1);
    time_loads<64, 4, 16, 3, 8, half_rows<64, 16>, half_rows<64, 16>>("d64 fp16", only);
    time_loads<256, 4, 32, 3, 8, int_ch<256, 4, 32, 64>, int_tok<256, 4, 32>>("d256 int4.ch64 int4.tok", only);
    return 0;
}
