/* bench_gpu_backend.c - the CUDA backend's operations at the shapes of one layer of two models.
 *
 *     bench_gpu_backend [TOKENS [ORDINAL]]      default 2048 0
 *
 * Per model: every product of a layer, exact and fast, beside a plain cuBLAS call on inputs of the same kind that lie
 * ready (fp32 or bfloat16); attention, exact and decode-faithful; sensitivity with and without the anchor score;
 * moments of keys and queries; an upload and a download of a layer's largest weight from pageable memory. Each is
 * repeated until 20 timings are there; printed are the median and the least. Data are random. */
#include "backend.h"

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define REPEATS 20
#define WORKSPACE ((size_t)32 << 20)

typedef struct layer {
    const char *name;
    uint32_t hidden, heads, kv_heads, d, ffn;
} layer;

static const layer layers[] = {{"SmolLM2-135M", 576, 9, 3, 64, 1536}, {"Llama-3-8B", 4096, 32, 8, 128, 14336}};

static kvc_error error;

static void must(kvc_status status)
{
    if (status == KVC_OK) return;
    fprintf(stderr, "bench_gpu_backend: %s\n", error.message);
    exit(1);
}

static void must_cuda(int status, const char *what)
{
    if (status == 0) return;
    fprintf(stderr, "bench_gpu_backend: %s: error %d\n", what, status);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static float *random_floats(size_t n, uint32_t seed, float spread)
{
    float *x = malloc(n * sizeof *x);
    if (!x) exit(1);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = spread * (float)(int32_t)seed / 2147483648.0f;
    }
    return x;
}

static float *on_gpu(backend *b, size_t n, uint32_t seed, float spread)
{
    void *dev;
    float *x = random_floats(n, seed, spread);
    must(b->buffer_new(b, n * sizeof *x, &dev, &error));
    must(b->upload(b, dev, x, n * sizeof *x, &error));
    must(b->sync(b, &error));
    free(x);
    return dev;
}

/* One call of what is timed; whoever is asynchronous is waited for. */
typedef struct timed {
    backend *b;
    cublasHandle_t blas;
    cudaDataType type; /* of the plain call */
    size_t m, n, k;
    const float *x, *w;
    float *y;
    attention_args attention;
    sensitivity_args sensitivity;
    double *moments;
    float *host;
    size_t bytes;
} timed;

static void run_gemm(timed *t)
{
    must(t->b->gemm(t->b, t->m, t->n, t->k, t->x, t->w, NULL, 0, t->y, &error));
}

static void run_plain(timed *t)
{
    const float one = 1, zero = 0;
    must_cuda((int)cublasGemmEx(t->blas, CUBLAS_OP_T, CUBLAS_OP_N, (int)t->n, (int)t->m, (int)t->k, &one, t->w,
                                t->type, (int)t->k, t->x, t->type, (int)t->k, &zero, t->y, CUDA_R_32F, (int)t->n,
                                CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
              "cublasGemmEx");
}

static void run_attention(timed *t)
{
    must(t->b->attention(t->b, &t->attention, &error));
}

static void run_sensitivity(timed *t)
{
    must(t->b->sensitivity(t->b, &t->sensitivity, &error));
}

static void run_moments(timed *t)
{
    const sensitivity_args *s = &t->sensitivity;
    size_t H = s->n_heads, kv = s->n_kv_heads, d = s->head_dim, T = s->n_tokens;
    must(t->b->moments(t->b, T, kv, d, s->k, s->key_weight, T, t->moments, t->moments + H, t->moments + H + H * d,
                       &error));
    must(t->b->moments(t->b, T, H, d, s->q, s->query_weight, T, t->moments, t->moments + H, t->moments + H + H * d,
                       &error));
}

static void run_upload(timed *t)
{
    must(t->b->upload(t->b, t->y, t->host, t->bytes, &error));
}

static void run_download(timed *t)
{
    must(t->b->download(t->b, t->host, t->y, t->bytes, &error));
}

/* `work` in operations, or in bytes. */
static void measure(timed *t, const char *what, void (*run)(timed *), double work, const char *unit)
{
    double times[REPEATS];
    for (int i = -3; i < REPEATS; i++) {
        double start = now();
        run(t);
        must_cuda((int)cudaDeviceSynchronize(), what);
        if (i >= 0) times[i] = now() - start;
    }
    qsort(times, REPEATS, sizeof *times, by_size);
    printf("  %-44s median %9.3f ms  least %9.3f ms  %8.2f %s\n", what, 1e3 * times[REPEATS / 2], 1e3 * times[0],
           1e-12 * work / times[REPEATS / 2], unit);
}

/* The same bits serve as bfloat16: random ones, without NaN and infinity. */
static void fill_halves(void *dev, size_t n, uint32_t seed)
{
    uint16_t *x = malloc(n * sizeof *x);
    if (!x) exit(1);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (uint16_t)((seed >> 16 & 0x807fu) | (0x3e00u + (seed >> 8 & 0x180u)));
    }
    must_cuda((int)cudaMemcpy(dev, x, n * sizeof *x, cudaMemcpyHostToDevice), "cudaMemcpy");
    free(x);
}

static void bench_product(backend *exact, backend *fast, cublasHandle_t blas, const char *name, size_t m, size_t n,
                          size_t k)
{
    float *x = on_gpu(exact, m * k, 1, 1), *w = on_gpu(exact, n * k, 2, 0.05f), *y = on_gpu(exact, m * n, 3, 1);
    timed t = {.b = exact, .blas = blas, .type = CUDA_R_32F, .m = m, .n = n, .k = k, .x = x, .w = w, .y = y};
    double work = 2.0 * (double)m * (double)n * (double)k;
    char text[64];
    printf("  %s: %zu x %zu x %zu\n", name, m, n, k);
    measure(&t, "  exact", run_gemm, work, "TFLOP/s");
    measure(&t, "  plain cuBLAS, fp32", run_plain, work, "TFLOP/s");
    t.b = fast;
    float *host = random_floats(n * k, 2, 0.05f);
    void *weight;
    must(fast->buffer_new(fast, n * k * fast->weight_bytes, &weight, &error));
    must(fast->load_weight(fast, weight, host, n * k, &error));
    free(host);
    t.w = weight;
    snprintf(text, sizeof text, "  fast, x rounded once");
    measure(&t, text, run_gemm, work, "TFLOP/s");
    fast->buffer_free(fast, weight);
    t.w = w;
    fill_halves(x, m * k, 5);
    fill_halves(w, n * k, 6);
    t.type = CUDA_R_16BF;
    measure(&t, "  plain cuBLAS, bfloat16", run_plain, work, "TFLOP/s");
    exact->buffer_free(exact, x);
    exact->buffer_free(exact, w);
    exact->buffer_free(exact, y);
}

static void bench_copies(backend *b, size_t n)
{
    timed t = {.b = b, .y = on_gpu(b, n, 1, 1), .host = random_floats(n, 2, 1), .bytes = n * sizeof(float)};
    measure(&t, "upload", run_upload, (double)t.bytes, "TB/s");
    measure(&t, "download", run_download, (double)t.bytes, "TB/s");
    b->buffer_free(b, t.y);
    free(t.host);
}

static double *zeros(size_t n)
{
    double *x = calloc(n, sizeof *x);
    if (!x) exit(1);
    return x;
}

static void bench_attention(backend *b, const layer *l, uint32_t T)
{
    size_t q = (size_t)T * l->heads * l->d, kv = (size_t)T * l->kv_heads * l->d, d = l->d;
    float *rows[6] = {on_gpu(b, q, 1, 2),  on_gpu(b, kv, 2, 2), on_gpu(b, kv, 3, 1),
                      on_gpu(b, kv, 4, 2), on_gpu(b, kv, 5, 1), on_gpu(b, q, 6, 1)};
    float *metric = random_floats(l->heads * d * d, 7, 0.01f), scale = 1 / sqrtf((float)d);
    double scores = (double)l->heads * T * T / 2 * (double)d;
    const kvc_token_policy policy = {4, 64, 64};
    for (size_t i = 0; i < l->heads * d; i++) metric[i * d + i % d] += 1;
    timed t = {.b = b,
               .attention = {T, l->heads, l->kv_heads, l->d, scale, rows[0], rows[1], rows[2], NULL, NULL, policy,
                             rows[5], 0},
               .sensitivity = {T, l->heads, l->kv_heads, l->d, scale, policy, rows[0], rows[1], rows[2], metric,
                               zeros(l->kv_heads * (size_t)T), zeros(l->kv_heads * (size_t)T),
                               zeros(l->heads * (size_t)T), NULL},
               .moments = zeros(l->heads * (1 + d + d * d))};
    double *anchors = zeros(l->kv_heads * (size_t)T);
    measure(&t, "attention", run_attention, 4 * scores, "TFLOP/s");
    t.attention.k_page = rows[3];
    t.attention.v_page = rows[4];
    measure(&t, "attention, decode-faithful", run_attention, 4 * scores, "TFLOP/s");
    measure(&t, "sensitivity", run_sensitivity, 6 * scores, "TFLOP/s");
    t.sensitivity.anchor_score = anchors;
    measure(&t, "sensitivity with anchor scores", run_sensitivity, 8 * scores, "TFLOP/s");
    measure(&t, "moments of keys and queries, fp64", run_moments,
            2.0 * (double)T * (l->heads + l->kv_heads) * (double)(d * d), "TFLOP/s");
    for (int i = 0; i < 6; i++) b->buffer_free(b, rows[i]);
    free(t.sensitivity.key_weight), free(t.sensitivity.value_weight), free(t.sensitivity.query_weight);
    free(t.moments), free(metric), free(anchors);
}

static void bench_layer(backend *exact, backend *fast, cublasHandle_t blas, const layer *l, uint32_t T)
{
    printf("%s, %u tokens\n", l->name, T);
    bench_product(exact, fast, blas, "q", T, (size_t)l->heads * l->d, l->hidden);
    bench_product(exact, fast, blas, "k, v", T, (size_t)l->kv_heads * l->d, l->hidden);
    bench_product(exact, fast, blas, "gate, up", T, l->ffn, l->hidden);
    bench_product(exact, fast, blas, "down", T, l->hidden, l->ffn);
    bench_attention(exact, l, T);
    bench_copies(exact, (size_t)l->hidden * l->ffn);
}

int main(int argc, char **argv)
{
    uint32_t tokens = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 2048;
    int ordinal = argc > 2 ? atoi(argv[2]) : 0;
    char device[2][32];
    backend *exact, *fast;
    cublasHandle_t blas;
    void *workspace;
    if (!tokens) return fprintf(stderr, "bench_gpu_backend [TOKENS [ORDINAL]]\n"), 2;
    snprintf(device[0], sizeof device[0], "cuda:%d", ordinal);
    snprintf(device[1], sizeof device[1], "cuda:%d,fast", ordinal);
    must(backend_open(&exact, device[0], 0, &error));
    must(backend_open(&fast, device[1], 0, &error));
    must_cuda((int)cublasCreate(&blas), "cublasCreate");
    must_cuda((int)cudaMalloc(&workspace, WORKSPACE), "cudaMalloc");
    must_cuda((int)cublasSetWorkspace(blas, workspace, WORKSPACE), "cublasSetWorkspace");
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) bench_layer(exact, fast, blas, &layers[i], tokens);
    cublasDestroy(blas);
    cudaFree(workspace);
    fast->close(fast);
    exact->close(exact);
    return 0;
}
