/* bench_gpu_lookup.cu - ways to look up the codes of vq[C]x8 on one GPU, side by side, without a softmax: scores of
 * keys (lookup_keys.cuh) and weighted sums of values (lookup_values.cuh).
 *
 *     bench_gpu_lookup [case]    cases whose name contains `case`, or all
 *
 * One side, d 128, four query heads to a KV head; a block of eight warps on each multiprocessor, whose tiles of 64
 * tokens come from memory in the background. Random codes, tables, queries and weights. First each way is checked
 * against double precision (relative error of all sums together; above MOST the program fails), then timed on TILES
 * tiles: 16 sequences of 32768 tokens, 8 heads. Where a way has tables of its own for a sequence and head, they are
 * made anew after every N tiles, or once. Clocks are those of a multiprocessor for a tile; passes are what its shared
 * memory needs at least. */
#include <math.h>
#include "gpu_timing.cuh"
#include "lookup_keys.cuh"
#include "lookup_values.cuh"

#define TILES 65536u
#define STAGES 4
#define MOST 2e-3
#define CODE_BYTES ((size_t)256 << 20) /* more than twice the second-level cache */
#define CHECKED 16u                    /* tiles of a block that are checked, and of a run then */
#define CHECKED_RUN 10u
#define RUNS (TILES / 128)

static uint32_t n_blocks;
static double ceiling;
static bool failed;

/* Halves: multiples of 2^-10 from -1 on, or from 0. */
__global__ void fill_fractions(uint16_t *x, size_t n, uint64_t seed, bool is_positive)
{
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
        float y = (float)(hashed(i + seed) >> 22) * 0x1p-10f;
        x[i] = __half_as_ushort(__float2half_rn(is_positive ? y : 2.0f * y - 1.0f));
    }
}

__global__ void fill_codes(uint32_t *words, size_t n)
{
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x)
        words[i] = hashed(i + ((uint64_t)1 << 40));
}

/* The same numbers on both sides: what kernels get, and what is to be expected of the checked tiles. */
struct lookup_inputs {
    device_arena arena;
    lookup_work work;
    std::vector<uint8_t> codes;
    std::vector<double> table, queries, weights;

    lookup_inputs()
    {
        size_t n_queries = (size_t)RUNS * LOOKUP_HEADS * LOOKUP_DIM, n_weights = LOOKUP_TOKENS * LOOKUP_HEADS;
        uint8_t *all = arena.make<uint8_t>(CODE_BYTES);
        uint16_t *entries = arena.make<uint16_t>(LOOKUP_ENTRIES * 8), *query = arena.make<uint16_t>(n_queries),
                 *weight = arena.make<uint16_t>(n_weights);
        KVC_LAUNCH(fill_codes, 4096, 256, 0, 0, (uint32_t *)all, CODE_BYTES / 4);
        KVC_LAUNCH(fill_fractions, 8, 256, 0, 0, entries, LOOKUP_ENTRIES * 8, (uint64_t)2 << 40, false);
        KVC_LAUNCH(fill_fractions, 256, 256, 0, 0, query, n_queries, (uint64_t)3 << 40, false);
        KVC_LAUNCH(fill_fractions, 1, 256, 0, 0, weight, n_weights, (uint64_t)4 << 40, true);
        device_sync("fill");
        work = {all, entries, query, weight, 0, 0, NULL, arena.make<unsigned long long>(n_blocks)};
        codes.resize((size_t)n_blocks * CHECKED * LOOKUP_TOKENS * (LOOKUP_DIM / 2));
        device_copy(codes.data(), all, codes.size());
        table = floats(entries, LOOKUP_ENTRIES * 8);
        queries = floats(query, n_queries);
        weights = floats(weight, n_weights);
    }
    static std::vector<double> floats(const uint16_t *from, size_t n)
    {
        std::vector<uint16_t> bits(n);
        std::vector<double> x(n);
        device_copy(bits.data(), from, n * 2);
        for (size_t i = 0; i < n; i++) x[i] = (double)__half2float(__ushort_as_half(bits[i]));
        return x;
    }
};

/* each(block, warp, run, tile) of the checked tiles */
template <typename F> static void for_checked(F each)
{
    for (uint32_t block = 0; block < n_blocks; block++) {
        lookup_range own = lookup_part({0, n_blocks * CHECKED}, block, n_blocks);
        while (own.begin < own.end) {
            lookup_range piece = lookup_piece(own, CHECKED_RUN);
            for (uint32_t warp = 0; warp < LOOKUP_WARPS; warp++) {
                lookup_range part = lookup_part(piece, warp, LOOKUP_WARPS);
                for (uint32_t tile = part.begin; tile < part.end; tile++)
                    each(block, warp, piece.begin / CHECKED_RUN, tile);
            }
            own.begin = piece.end;
        }
    }
}

/* What a block's warps leave, added up where that is the sum that counts. */
struct lookup_sums {
    size_t n; /* of a block */
    std::vector<double> x;
};

/* [warps][sum, maximum][heads][token modulo 8] of each block (lookup_keys.cuh) */
template <int C> static lookup_sums expected_keys(const lookup_inputs &in)
{
    const int CODES = LOOKUP_DIM / C, OUT = score_sums::OUT;
    lookup_sums s = {(size_t)LOOKUP_WARPS * OUT, {}};
    s.x.resize(n_blocks * s.n);
    for (size_t i = 0; i < s.x.size(); i++) s.x[i] = i % OUT < OUT / 2 ? 0.0 : ATTEND_LEAST;
    std::vector<double> scores((size_t)CODES * LOOKUP_ENTRIES * LOOKUP_HEADS);
    uint32_t scored = ~0u;
    for_checked([&](uint32_t block, uint32_t warp, uint32_t run, uint32_t tile) {
        if (run != scored)
            for (size_t i = 0; i < scores.size(); i++) {
                size_t head = i % LOOKUP_HEADS, entry = i / LOOKUP_HEADS % LOOKUP_ENTRIES,
                       code = i / LOOKUP_HEADS / LOOKUP_ENTRIES;
                scores[i] = 0.0;
                for (int k = 0; k < C; k++)
                    scores[i] +=
                        in.queries[(run * LOOKUP_HEADS + head) * LOOKUP_DIM + code * C + k] * in.table[entry * C + k];
            }
        scored = run;
        double *out = s.x.data() + ((size_t)block * LOOKUP_WARPS + warp) * OUT;
        for (int token = 0; token < LOOKUP_TOKENS; token++) {
            const uint8_t *row = in.codes.data() + ((size_t)tile * LOOKUP_TOKENS + token) * CODES;
            double score[LOOKUP_HEADS] = {0};
            for (int code = 0; code < CODES; code++)
                for (int h = 0; h < LOOKUP_HEADS; h++)
                    score[h] += scores[((size_t)code * LOOKUP_ENTRIES + row[code]) * LOOKUP_HEADS + h];
            for (int h = 0; h < LOOKUP_HEADS; h++) {
                double *sum = out + h * 8 + token % 8, *most = sum + LOOKUP_HEADS * 8;
                *sum += score[h];
                *most = std::max(*most, score[h]);
            }
        }
    });
    return s;
}

/* [heads][128] of each block */
template <int C> static lookup_sums expected_values(const lookup_inputs &in)
{
    const int CODES = LOOKUP_DIM / C;
    lookup_sums s = {LOOKUP_HEADS * LOOKUP_DIM, {}};
    s.x.resize(n_blocks * s.n);
    for_checked([&](uint32_t block, uint32_t, uint32_t, uint32_t tile) {
        for (int token = 0; token < LOOKUP_TOKENS; token++) {
            const uint8_t *row = in.codes.data() + ((size_t)tile * LOOKUP_TOKENS + token) * CODES;
            for (int h = 0; h < LOOKUP_HEADS; h++) {
                double weight = in.weights[token * LOOKUP_HEADS + h];
                double *out = s.x.data() + block * s.n + h * LOOKUP_DIM;
                for (int i = 0; i < LOOKUP_DIM; i++) out[i] += weight * in.table[row[i / C] * C + i % C];
            }
        }
    });
    return s;
}

template <typename WAY> static void launch_way(const lookup_work &w, cudaStream_t stream)
{
    typedef lookup_shape<WAY, STAGES> shape;
    KVC_LAUNCH((lookup_tiles<WAY, STAGES>), n_blocks, LOOKUP_THREADS, shape::BYTES, stream, w);
}

/* Relative error of everything together. */
template <typename WAY> static double check_way(const lookup_work &inputs, const lookup_sums &expected)
{
    lookup_work w = inputs;
    size_t n = (size_t)n_blocks * LOOKUP_WARPS * WAY::OUT, of_block = (size_t)LOOKUP_WARPS * WAY::OUT;
    device_arena arena;
    std::vector<float> out(n);
    std::vector<double> sums(expected.x.size());
    w.tiles = n_blocks * CHECKED, w.of_run = CHECKED_RUN, w.out = arena.make<float>(n);
    launch_way<WAY>(w, 0);
    device_sync(WAY::NAME);
    device_copy(out.data(), w.out, n * sizeof(float));
    for (size_t i = 0; i < n; i++) sums[i / of_block * expected.n + i % expected.n] += (double)out[i];
    double error = 0.0, all = 0.0;
    for (size_t i = 0; i < sums.size(); i++) {
        error += (sums[i] - expected.x[i]) * (sums[i] - expected.x[i]);
        all += expected.x[i] * expected.x[i];
    }
    return sqrt(error / all);
}

/* Clocks of a multiprocessor, the mean of them all, for one of its tiles. */
static double clocks_of_tile(const lookup_work &w)
{
    std::vector<unsigned long long> time(n_blocks);
    double all = 0.0;
    device_copy(time.data(), w.time, n_blocks * sizeof time[0]);
    for (unsigned long long t : time) all += (double)t;
    return all / w.tiles;
}

template <typename WAY>
static void time_way(const char *name, const lookup_work &inputs, uint32_t of_run, double error)
{
    lookup_work w = inputs;
    const size_t bytes = (size_t)TILES * LOOKUP_TOKENS * WAY::CODES;
    const int copies = (int)(CODE_BYTES / bytes);
    device_arena arena;
    w.tiles = TILES, w.of_run = of_run, w.out = arena.make<float>((size_t)n_blocks * LOOKUP_WARPS * WAY::OUT);
    double seconds = time_graph([&](cudaStream_t stream, int i) {
        w.codes = inputs.codes + i % copies * bytes;
        launch_way<WAY>(w, stream);
    });
    printf("%-6s %-36s", name, WAY::NAME);
    printf(of_run < TILES ? " %5u" : "  once", of_run);
    printf(" %7.1f us %6.1f clocks %4d passes  %.2f of the ceiling  error %.1e\n", seconds * 1e6, clocks_of_tile(w),
           WAY::PASSES, (double)bytes / seconds / ceiling, error);
    fflush(stdout);
}

/* of_runs: tiles between tables of a way's own; 0 ends them. */
template <typename WAY>
static void run_way(const char *name, const lookup_inputs &in, const lookup_sums &expected, const uint32_t *of_runs)
{
    device_check(KVC_ALLOW_SHARED((lookup_tiles<WAY, STAGES>), (lookup_shape<WAY, STAGES>::BYTES)), WAY::NAME);
    double error = check_way<WAY>(in.work, expected);
    if (!(error <= MOST)) {
        printf("%s: %s: error %g\n", name, WAY::NAME, error);
        failed = true;
    }
    for (; *of_runs; of_runs++) time_way<WAY>(name, in.work, *of_runs, error);
}

static const uint32_t one_sequence[] = {512, 0}, all_runs[] = {128, 512, TILES, 0};

template <int C> static void run_case(const char *name, const char *only, const lookup_inputs &in)
{
    if (!strstr(name, only)) return;
    lookup_sums scores = expected_keys<C>(in), sums = expected_values<C>(in);
    run_way<keys_wide<C>>(name, in, scores, one_sequence);
    run_way<keys_rows<C>>(name, in, scores, one_sequence);
    if constexpr (C >= 4) run_way<keys_scores<C>>(name, in, scores, all_runs);
    run_way<values_wide<C, false>>(name, in, sums, one_sequence);
    if constexpr (C <= 4) run_way<values_wide<C, true>>(name, in, sums, one_sequence);
    run_way<values_transposed<C>>(name, in, sums, one_sequence);
    run_way<values_pairs<C>>(name, in, sums, one_sequence);
    if constexpr (C >= 4) run_way<values_mass<C>>(name, in, sums, all_runs);
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : "";
    cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, 0) != cudaSuccess) {
        puts("skipped: no GPU");
        return 77;
    }
    n_blocks = (uint32_t)p.multiProcessorCount;
    printf("%s, %u multiprocessors; %u tiles of 64 tokens\n", p.name, n_blocks, TILES);
    ceiling = measure_ceiling((int)n_blocks);
    lookup_inputs in;
    run_case<8>("vq8x8", only, in);
    run_case<4>("vq4x8", only, in);
    run_case<2>("vq2x8", only, in);
    return failed;
}
