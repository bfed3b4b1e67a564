/* anchor_scores.cu - AnTKV's score: sum over a strip's rows of A |V_j - O_i|_1 |q_i| scale.
 *
 * A block owns TILE keys of one KV head and goes through all rows of its query heads, TILE at a time; |V - O|_1 of a
 * TILE x TILE patch is built like a product, 4 x 4 per thread, DEPTH channels at a time in shared memory. A row of
 * shared memory is DEPTH + 4 floats: 8 rows' float4 are in different banks. */
#include "op.h"

#include "launch.cuh"

static const unsigned TILE = 64, DEPTH = 32, LD = DEPTH + 4;

/* Rows [first, first + TILE) and channels [c, c + DEPTH); what lies beyond n_rows or d is 0. */
__device__ static void load_tile(const float *x, size_t stride, size_t first, size_t n_rows, uint32_t c, uint32_t d,
                                 float *tile)
{
    for (unsigned i = threadIdx.x; i < TILE * DEPTH; i += THREADS) {
        unsigned r = i / DEPTH, channel = i % DEPTH;
        bool there = first + r < n_rows && c + channel < d;
        tile[r * LD + channel] = there ? x[(first + r) * stride + c + channel] : 0.0f;
    }
}

/* l[i][j] += |row 4 y + i - key x + 16 j|_1 over the channels in shared memory */
__device__ static void add_lengths(const float *rows, const float *keys, unsigned x, unsigned y, float (&l)[4][4])
{
    for (unsigned c = 0; c < DEPTH; c += 4) {
        float4 o[4], v[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            o[i] = *(const float4 *)(rows + (4 * y + i) * LD + c);
            v[i] = *(const float4 *)(keys + (x + 16 * i) * LD + c);
        }
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                l[i][j] +=
                    fabsf(v[j].x - o[i].x) + fabsf(v[j].y - o[i].y) + fabsf(v[j].z - o[i].z) + fabsf(v[j].w - o[i].w);
    }
}

__global__ static void __launch_bounds__(256) anchor_scores(op_weights a)
{
    __shared__ __align__(16) float o[TILE * LD], v[TILE * LD];
    __shared__ double sums[16][TILE];
    unsigned x = threadIdx.x % 16, y = threadIdx.x / 16;
    size_t head = blockIdx.y, first = (size_t)blockIdx.x * TILE, d = a.head_dim;
    size_t rows = (size_t)a.n_heads / a.n_kv_heads * a.rows.n, row0 = head * rows, stride = a.n_kv_heads * d;
    double own[4] = {0, 0, 0, 0};
    for (size_t at = 0; at < rows; at += TILE) {
        float l[4][4] = {};
        for (uint32_t c = 0; c < d; c += DEPTH) {
            __syncthreads(); /* the tiles before have been read */
            load_tile(a.o + row0 * d, d, at, rows, c, a.head_dim, o);
            load_tile(a.v + a.policy.sinks * stride + head * d, stride, first, a.compressed, c, a.head_dim, v);
            __syncthreads();
            add_lengths(o, v, x, y, l);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            size_t m = at + 4 * y + i;
            if (m >= rows) break;
            float norm = sqrtf(a.power_q[row0 + m]);
            const float *A = a.attention + (row0 + m) * a.ld + a.policy.sinks + first;
#pragma unroll
            for (int j = 0; j < 4; j++)
                if (first + x + 16 * j < a.compressed) own[j] += A[x + 16 * j] * norm * l[i][j];
        }
    }
    for (int j = 0; j < 4; j++) sums[y][x + 16 * j] = own[j];
    __syncthreads();
    if (threadIdx.x >= TILE || first + threadIdx.x >= a.compressed) return;
    double sum = 0;
    for (int part = 0; part < 16; part++) sum += sums[part][threadIdx.x];
    a.anchor_score[head * a.n_tokens + a.policy.sinks + first + threadIdx.x] += sum;
}

extern "C" cudaError_t op_anchor_scores(const op_weights *args, cudaStream_t stream)
{
    if (args->rows.n == 0 || args->compressed == 0) return cudaSuccess;
    dim3 grid((unsigned)blocks_of(args->compressed, TILE), args->n_kv_heads);
    KVC_LAUNCH(anchor_scores, grid, THREADS, 0, stream, *args);
    return KVC_LAUNCHED();
}
