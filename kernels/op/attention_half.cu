/* attention_half.cu - causal attention by tensor cores: rows rounded to fp16, products and sums in fp32.
 *
 * A block is one query head and BM = 128 consecutive queries, 16 for each of its 8 warps; keys come BN = 64 at a
 * time, in the order of attention_keys.cuh. A warp keeps its queries as operands and, with lane = 4 g + t, for rows g
 * and g + 8 of its 16 s [8][4]        scores of keys 8 n + 2 t, 8 n + 2 t + 1 o [W / 8][4]    outputs, channels 8 n +
 * 2 t, 8 n + 2 t + 1        d <= W, zero beyond it Scores turn into the next product's operands where they are:
 * probabilities have the layout of its first matrix. Shared memory: keys [BN][LD] | values [BN][LD] in fp16, LD = W +
 * 8, so that 8 rows' 16 bytes lie in different banks.
 *
 * Limits: values beyond fp16's range count as its largest; d <= 128. Bound by reading keys and values from the L2
 * cache: 64 flops a byte. */
#include "op.h"

#include <cuda_fp16.h>

#include "attention_keys.cuh"
#include "launch.cuh"
#include "reduce.cuh"

static const int WARPS = THREADS / 32, BM = 16 * WARPS, BN = 64;

__device__ inline uint32_t half_pair(float low, float high)
{
    __half2 pair = __floats2half2_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}

__device__ inline float within(float x)
{
    return fminf(fmaxf(x, -65504.0f), 65504.0f);
}

/* Four 8 x 8 matrices for two products: of keys [16][16] (row: key, column: channel) the operands of keys 0 - 7, then
 * 8 - 15; of values [16][16], transposed, those of channels 0 - 7, then 8 - 15. */
#ifdef KVC_EMULATE
static inline uint32_t two_halves(const uint16_t *low, const uint16_t *high)
{
    return *low | (uint32_t)*high << 16;
}
static inline void load_keys(const uint16_t *tile, int ld, int lane, uint32_t b[4])
{
    for (int i = 0; i < 4; i++) {
        const uint16_t *at = tile + (lane / 4 + i / 2 * 8) * ld + i % 2 * 8 + lane % 4 * 2;
        b[i] = two_halves(at, at + 1);
    }
}
static inline void load_values(const uint16_t *tile, int ld, int lane, uint32_t b[4])
{
    for (int i = 0; i < 4; i++) {
        const uint16_t *at = tile + (i % 2 * 8 + lane % 4 * 2) * ld + i / 2 * 8 + lane / 4;
        b[i] = two_halves(at, at + ld);
    }
}
#else
__device__ inline void load_keys(const uint16_t *tile, int ld, int lane, uint32_t b[4])
{
    const uint16_t *at = tile + (lane % 8 + lane / 16 * 8) * ld + lane / 8 % 2 * 8;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                 : "r"(shared_address_of(at))
                 : "memory");
}
__device__ inline void load_values(const uint16_t *tile, int ld, int lane, uint32_t b[4])
{
    const uint16_t *at = tile + (lane % 8 + lane / 8 % 2 * 8) * ld + lane / 16 * 8;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                 : "r"(shared_address_of(at))
                 : "memory");
}
#endif

template <int W> struct half_tile {
    static const int LD = W + 8, OWN = BN * W / 4 / THREADS;
    static const bool AHEAD = W > 64; /* is the next tile on its way meanwhile? Others have too few registers. */
    static const size_t bytes = 2 * (size_t)BN * LD * sizeof(uint16_t);

    uint16_t *keys, *values; /* shared memory */
    int lane;
    uint32_t row; /* g of the warp, as a query; the other is 8 behind it */
    uint32_t q[W / 16][4];
    key_sight sight[2];
    float max[2], sum[2], o[W / 8][4];

    /* Channels c, c + 1 of query `at`, times the scale and log2 e: exponentials are powers of two. */
    __device__ uint32_t query_pair(const op_attention_args &a, uint32_t at, uint32_t head, uint32_t c) const
    {
        if (at >= a.n_tokens) return 0;
        const float *from = a.q + ((size_t)at * a.n_heads + head) * a.head_dim;
        float scale = a.scale * 1.4426950408889634f, low = c < a.head_dim ? from[c] * scale : 0.0f;
        return half_pair(within(low), within(c + 1 < a.head_dim ? from[c + 1] * scale : 0.0f));
    }

    __device__ void start(const op_attention_args &a, uint32_t first, uint32_t head, uint16_t *memory)
    {
        keys = memory, values = memory + BN * LD;
        lane = (int)(threadIdx.x % 32);
        row = first + threadIdx.x / 32 * 16 + (uint32_t)lane / 4;
#pragma unroll
        for (int k = 0; k < W / 16; k++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                q[k][i] = query_pair(a, row + i % 2 * 8, head, (uint32_t)(16 * k + i / 2 * 8 + lane % 4 * 2));
#pragma unroll
        for (int r = 0; r < 2; r++) {
            sight[r] = sight_of(a, row + 8 * r);
            max[r] = -INFINITY;
            sum[r] = 0;
        }
#pragma unroll
        for (int n = 0; n < W / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) o[n][i] = 0;
    }

    /* Rows of the keys [begin, begin + BN) of a run, 0 beyond it and beyond d: what the thread has of them, all on
     * its way at once. */
    __device__ static void ask(const op_attention_args &a, const key_run &run, const float *rows, uint32_t kv_head,
                               uint32_t begin, float (&x)[OWN][4])
    {
        bool wide = a.head_dim % 4 == 0 && (uintptr_t)rows % 16 == 0;
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            uint32_t r = (i * THREADS + threadIdx.x) / (W / 4), c = threadIdx.x % (W / 4) * 4;
            bool there = begin + r < run.count;
            const float *from =
                rows + ((size_t)(there ? key_token(run, begin + r) : 0) * a.n_kv_heads + kv_head) * a.head_dim + c;
            float4 four = {0, 0, 0, 0};
            if (wide) {
                if (there && c < a.head_dim) four = *(const float4 *)from;
                x[i][0] = four.x, x[i][1] = four.y, x[i][2] = four.z, x[i][3] = four.w;
            } else {
#pragma unroll
                for (uint32_t k = 0; k < 4; k++) x[i][k] = there && c + k < a.head_dim ? from[k] : 0.0f;
            }
        }
    }

    __device__ static void put(const float (&x)[OWN][4], uint16_t *tile)
    {
        uint32_t c = threadIdx.x % (W / 4) * 4;
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            uint32_t r = (i * THREADS + threadIdx.x) / (W / 4);
            *(uint2 *)(tile + r * LD + c) =
                make_uint2(half_pair(within(x[i][0]), within(x[i][1])), half_pair(within(x[i][2]), within(x[i][3])));
        }
    }

    __device__ void scores(float (&s)[BN / 8][4]) const
    {
#pragma unroll
        for (int n = 0; n < BN / 16; n++)
#pragma unroll
            for (int k = 0; k < W / 16; k++) {
                uint32_t b[4];
                load_keys(keys + 16 * n * LD + 16 * k, LD, lane, b);
                mma_16x8x16(s[2 * n], q[k], b);
                mma_16x8x16(s[2 * n + 1], q[k], b + 2);
            }
    }

    __device__ void mask(const key_run &run, uint32_t sinks, uint32_t begin, float (&s)[BN / 8][4]) const
    {
#pragma unroll
        for (int n = 0; n < BN / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (!reads(run, sight[i / 2], sinks, begin + 8 * n + (uint32_t)lane % 4 * 2 + i % 2))
                    s[n][i] = -INFINITY;
    }

    /* s = 2^(s - maximum so far); what was added up so far is brought to the new maximum. A row's scores are with 4
     * neighbouring lanes. */
    __device__ void soften(float (&s)[BN / 8][4])
    {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float top = max[r], total = 0;
#pragma unroll
            for (int n = 0; n < BN / 8; n++) top = fmaxf(top, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
            for (int offset = 1; offset < 4; offset *= 2) top = fmaxf(top, __shfl_xor_sync(ALL_LANES, top, offset));
            float base = top == -INFINITY ? 0.0f : top, keep = exp2_fast(max[r] - base);
#pragma unroll
            for (int n = 0; n < BN / 8; n++)
#pragma unroll
                for (int i = 2 * r; i < 2 * r + 2; i++) {
                    s[n][i] = exp2_fast(s[n][i] - base);
                    total += s[n][i];
                }
            for (int offset = 1; offset < 4; offset *= 2) total += __shfl_xor_sync(ALL_LANES, total, offset);
            sum[r] = sum[r] * keep + total;
            max[r] = top;
#pragma unroll
            for (int n = 0; n < W / 8; n++) o[n][2 * r] *= keep, o[n][2 * r + 1] *= keep;
        }
    }

    __device__ void add_values(const float (&s)[BN / 8][4])
    {
#pragma unroll
        for (int k = 0; k < BN / 16; k++) {
            const float *low = s[2 * k], *high = s[2 * k + 1];
            uint32_t p[4] = {half_pair(low[0], low[1]), half_pair(low[2], low[3]), half_pair(high[0], high[1]),
                             half_pair(high[2], high[3])};
#pragma unroll
            for (int n = 0; n < W / 16; n++) {
                uint32_t b[4];
                load_values(values + 16 * k * LD + 16 * n, LD, lane, b);
                mma_16x8x16(o[2 * n], p, b);
                mma_16x8x16(o[2 * n + 1], p, b + 2);
            }
        }
    }

    /* Whether all rows of the block read all of the tile's keys; `first` is the block's first row. */
    __device__ static bool open(const op_attention_args &a, const key_run &run, uint32_t first, uint32_t begin)
    {
        uint32_t end = begin + BN;
        key_sight row = sight_of(a, first);
        if (end > run.count) return false;
        if (run.pages) return key_token(run, end - 1) < row.edge;
        return begin >= run.keep && key_token(run, end - 1) <= row.last && !a.k_page && !a.v_page;
    }

    __device__ void walk(const op_attention_args &a, const key_run &run, uint32_t kv_head, uint32_t first)
    {
        float k[OWN][4], v[OWN][4];
        auto ask_both = [&](uint32_t begin) {
            ask(a, run, run.k, kv_head, begin, k);
            ask(a, run, run.v, kv_head, begin, v);
        };
        if (AHEAD && run.count) ask_both(0);
        for (uint32_t begin = 0; begin < run.count; begin += BN) {
            float s[BN / 8][4] = {};
            if (!AHEAD) ask_both(begin);
            __syncthreads(); /* the tile before has been read */
            put(k, keys);
            put(v, values);
            __syncthreads();
            if (AHEAD && begin + BN < run.count) ask_both(begin + BN);
            scores(s);
            if (!open(a, run, first, begin)) mask(run, a.policy.sinks, begin, s);
            soften(s);
            add_values(s);
        }
    }

    __device__ void store(const op_attention_args &a, uint32_t head) const
    {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            if (row + 8 * r >= a.n_tokens) continue;
            float *out = a.out + ((size_t)(row + 8 * r) * a.n_heads + head) * a.head_dim, scale = 1.0f / sum[r];
#pragma unroll
            for (int n = 0; n < W / 8; n++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    uint32_t c = (uint32_t)(8 * n + lane % 4 * 2 + i);
                    if (c < a.head_dim) out[c] = o[n][2 * r + i] * scale;
                }
        }
    }
};

template <int W> __global__ static void __launch_bounds__(256, W <= 64 ? 2 : 1) attend_half(op_attention_args a)
{
    KVC_SHARED(uint16_t, memory);
    uint32_t first = tile_of(a, BM), head = blockIdx.y;
    uint32_t end = first + BM < a.n_tokens ? first + BM : a.n_tokens, kv_head = head / (a.n_heads / a.n_kv_heads);
    half_tile<W> t;
    t.start(a, first, head, memory);
    t.walk(a, page_keys(a, end), kv_head, first);
    t.walk(a, exact_keys(a, first, end), kv_head, first);
    t.store(a, head);
}

template <int W> static cudaError_t launch_half(const op_attention_args &a, cudaStream_t stream)
{
    auto kernel = attend_half<W>;
    cudaError_t status = KVC_ALLOW_SHARED(kernel, half_tile<W>::bytes);
    if (status != cudaSuccess) return status;
    dim3 grid((unsigned)blocks_of(a.n_tokens, BM) * a.n_sequences, a.n_heads);
    KVC_LAUNCH(kernel, grid, THREADS, half_tile<W>::bytes, stream, a);
    return KVC_LAUNCHED();
}

extern "C" cudaError_t op_attention_half(const op_attention_args *args, cudaStream_t stream)
{
    if (args->n_tokens == 0 || args->n_heads == 0 || args->n_sequences == 0) return cudaSuccess;
    if (args->head_dim <= 64) return launch_half<64>(*args, stream);
    if (args->head_dim <= 128) return launch_half<128>(*args, stream);
    return cudaErrorInvalidValue;
}
