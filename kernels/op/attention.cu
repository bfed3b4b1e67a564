/* attention.cu - causal attention by tiles with an online softmax (FlashAttention), all in fp32.
 *
 * A block is one query head and BM = 16 RM consecutive queries; keys come BN = 16 RN at a time. Of its 256 threads
 * (x, y), 16 x 16, each keeps for rows RM y .. RM y + RM - 1
 *     s [RM][RN]    scores of keys x, x + 16, ...
 *     o [RM][4 NV]  outputs, channels 4 x .. 4 x + 3, 64 more, ...   d <= W = 64 NV
 * so a row belongs to 16 neighbouring lanes, which reduce it by shuffles. Shared memory: queries [BM][LD] | keys,
 * then values [BN][LD] | probabilities [BM][BN + 4]; LD = W + 4 floats puts the float4 of 8 rows into different
 * banks.
 *
 * Keys are walked twice (attention_keys.cuh).
 *
 * Cost: 4 d flops and one exponential per score, T^2 / 2 scores per head. Per 4 channels and 4 x 4 scores: 8 loads of
 * 16 bytes for 64 multiply-adds. */
#include "op.h"

#include "attention_keys.cuh"
#include "launch.cuh"
#include "reduce.cuh"

template <int RM, int RN, int NV> struct attention_tile {
    static const int BM = 16 * RM, BN = 16 * RN, W = 64 * NV, LD = W + 4, LDP = BN + 4;
    static const size_t bytes = ((size_t)(BM + BN) * LD + (size_t)BM * LDP) * sizeof(float);

    float *q, *kv, *p; /* shared memory */
    unsigned x, y;
    key_sight sight[RM]; /* of each row */
    float max[RM], sum[RM], o[RM][4 * NV];

    __device__ void start(const op_attention_args &a, uint32_t first, uint32_t head, float *memory)
    {
        q = memory, kv = q + BM * LD, p = kv + BN * LD;
        x = threadIdx.x % 16, y = threadIdx.x / 16;
        for (int at = threadIdx.x; at < BM * W; at += THREADS) {
            uint32_t r = at / W, i = at % W, t = first + r;
            bool there = t < a.n_tokens && i < a.head_dim;
            q[r * LD + i] = there ? a.q[((size_t)t * a.n_heads + head) * a.head_dim + i] * a.scale : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < RM; i++) {
            sight[i] = sight_of(a, first + RM * y + i);
            max[i] = -INFINITY;
            sum[i] = 0;
#pragma unroll
            for (int c = 0; c < 4 * NV; c++) o[i][c] = 0;
        }
    }

    /* kv = rows of the keys [begin, begin + BN) of a run, 0 beyond it and beyond d */
    __device__ void load(const op_attention_args &a, const key_run &run, const float *rows, uint32_t kv_head,
                         uint32_t begin)
    {
        for (int at = threadIdx.x; at < BN * W; at += THREADS) {
            uint32_t r = at / W, i = at % W, token = key_token(run, begin + r);
            bool there = begin + r < run.count && i < a.head_dim;
            kv[r * LD + i] = there ? rows[((size_t)token * a.n_kv_heads + kv_head) * a.head_dim + i] : 0.0f;
        }
    }

    __device__ void scores(uint32_t d, float (&s)[RM][RN]) const
    {
        for (uint32_t c = 0; c < d; c += 4) { /* W is a multiple of 4 and zero beyond d */
            float4 a[RM], b[RN];
#pragma unroll
            for (int i = 0; i < RM; i++) a[i] = *(const float4 *)(q + (RM * y + i) * LD + c);
#pragma unroll
            for (int j = 0; j < RN; j++) b[j] = *(const float4 *)(kv + (x + 16 * j) * LD + c);
#pragma unroll
            for (int i = 0; i < RM; i++)
#pragma unroll
                for (int j = 0; j < RN; j++) {
                    s[i][j] = fmaf(a[i].x, b[j].x, s[i][j]);
                    s[i][j] = fmaf(a[i].y, b[j].y, s[i][j]);
                    s[i][j] = fmaf(a[i].z, b[j].z, s[i][j]);
                    s[i][j] = fmaf(a[i].w, b[j].w, s[i][j]);
                }
        }
    }

    /* p = exp(s - maximum so far); what was added up so far is brought to the new maximum. */
    __device__ void soften(const key_run &run, uint32_t sinks, uint32_t begin, float (&s)[RM][RN])
    {
#pragma unroll
        for (int i = 0; i < RM; i++) {
            float top = max[i];
#pragma unroll
            for (int j = 0; j < RN; j++) {
                if (!reads(run, sight[i], sinks, begin + x + 16 * j)) s[i][j] = -INFINITY;
                top = fmaxf(top, s[i][j]);
            }
            for (int offset = 8; offset > 0; offset /= 2) top = fmaxf(top, __shfl_xor_sync(ALL_LANES, top, offset));
            float base = top == -INFINITY ? 0.0f : top, keep = expf(max[i] - base), total = 0;
#pragma unroll
            for (int j = 0; j < RN; j++) {
                float e = expf(s[i][j] - base);
                p[(RM * y + i) * LDP + x + 16 * j] = e;
                total += e;
            }
            for (int offset = 8; offset > 0; offset /= 2) total += __shfl_xor_sync(ALL_LANES, total, offset);
            sum[i] = sum[i] * keep + total;
            max[i] = top;
#pragma unroll
            for (int c = 0; c < 4 * NV; c++) o[i][c] *= keep;
        }
    }

    /* o += p v, the first n keys; a multiple of 4, p and v being zero beyond the run */
    __device__ void add_values(uint32_t n)
    {
        for (uint32_t j = 0; j < n; j += 4) {
            float4 w[RM];
#pragma unroll
            for (int i = 0; i < RM; i++) w[i] = *(const float4 *)(p + (RM * y + i) * LDP + j);
#pragma unroll
            for (int c = 0; c < NV; c++) {
                const float *v = kv + j * LD + 4 * x + 64 * c;
                float4 v0 = *(const float4 *)v, v1 = *(const float4 *)(v + LD);
                float4 v2 = *(const float4 *)(v + 2 * LD), v3 = *(const float4 *)(v + 3 * LD);
#pragma unroll
                for (int i = 0; i < RM; i++) {
                    float *to = o[i] + 4 * c;
                    to[0] = fmaf(w[i].w, v3.x, fmaf(w[i].z, v2.x, fmaf(w[i].y, v1.x, fmaf(w[i].x, v0.x, to[0]))));
                    to[1] = fmaf(w[i].w, v3.y, fmaf(w[i].z, v2.y, fmaf(w[i].y, v1.y, fmaf(w[i].x, v0.y, to[1]))));
                    to[2] = fmaf(w[i].w, v3.z, fmaf(w[i].z, v2.z, fmaf(w[i].y, v1.z, fmaf(w[i].x, v0.z, to[2]))));
                    to[3] = fmaf(w[i].w, v3.w, fmaf(w[i].z, v2.w, fmaf(w[i].y, v1.w, fmaf(w[i].x, v0.w, to[3]))));
                }
            }
        }
    }

    __device__ void walk(const op_attention_args &a, const key_run &run, uint32_t kv_head)
    {
        for (uint32_t begin = 0; begin < run.count; begin += BN) {
            float s[RM][RN] = {};
            __syncthreads(); /* queries are there; the values before have been read */
            load(a, run, run.k, kv_head, begin);
            __syncthreads();
            scores(a.head_dim, s);
            __syncthreads(); /* keys and probabilities have been read */
            load(a, run, run.v, kv_head, begin);
            soften(run, a.policy.sinks, begin, s);
            __syncthreads();
            uint32_t left = run.count - begin;
            add_values(left < BN ? left : BN);
        }
    }

    __device__ void store(const op_attention_args &a, uint32_t first, uint32_t head) const
    {
#pragma unroll
        for (int i = 0; i < RM; i++) {
            uint32_t t = first + RM * y + i;
            if (t >= a.n_tokens) break;
            float *out = a.out + ((size_t)t * a.n_heads + head) * a.head_dim, scale = 1.0f / sum[i];
#pragma unroll
            for (int c = 0; c < 4 * NV; c++) {
                uint32_t channel = c / 4 * 64 + 4 * x + c % 4;
                if (channel < a.head_dim) out[channel] = o[i][c] * scale;
            }
        }
    }
};

template <int RM, int RN, int NV>
__global__ static void __launch_bounds__(256, NV <= 2 ? 2 : 1) attend(op_attention_args a)
{
    KVC_SHARED(float, memory);
    typedef attention_tile<RM, RN, NV> tile;
    uint32_t first = tile_of(a, tile::BM), head = blockIdx.y;
    uint32_t end = first + tile::BM < a.n_tokens ? first + tile::BM : a.n_tokens;
    uint32_t kv_head = head / (a.n_heads / a.n_kv_heads);
    tile t;
    t.start(a, first, head, memory);
    t.walk(a, page_keys(a, end), kv_head);
    t.walk(a, exact_keys(a, first, end), kv_head);
    t.store(a, first, head);
}

template <int RM, int RN, int NV> static cudaError_t launch(const op_attention_args &a, cudaStream_t stream)
{
    typedef attention_tile<RM, RN, NV> tile;
    auto kernel = attend<RM, RN, NV>;
    cudaError_t status = KVC_ALLOW_SHARED(kernel, tile::bytes);
    if (status != cudaSuccess) return status;
    dim3 grid((unsigned)blocks_of(a.n_tokens, tile::BM) * a.n_sequences, a.n_heads);
    KVC_LAUNCH(kernel, grid, THREADS, tile::bytes, stream, a);
    return KVC_LAUNCHED();
}

/* Queries and keys 64 at a time up to d = 256, where the device has the shared memory; else 32. */
extern "C" cudaError_t op_attention(const op_attention_args *args, cudaStream_t stream)
{
    const op_attention_args &a = *args;
    int device = 0, most = 0;
    if (a.n_tokens == 0 || a.n_heads == 0 || a.n_sequences == 0) return cudaSuccess;
    cudaError_t status = cudaGetDevice(&device);
    if (status == cudaSuccess)
        status = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    if (status != cudaSuccess) return status;
    if (a.head_dim <= 64) return launch<4, 4, 1>(a, stream);
    if (a.head_dim <= 128) return launch<4, 4, 2>(a, stream);
    if (a.head_dim > 512) return cudaErrorInvalidValue;
    if (a.head_dim > 256) return launch<2, 2, 8>(a, stream);
    return (size_t)most >= attention_tile<4, 4, 4>::bytes ? launch<4, 4, 4>(a, stream) : launch<2, 2, 4>(a, stream);
}
