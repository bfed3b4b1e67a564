/* bench_forward.c - the forward pass beside what sgemm does in the same run.
 *
 *     bench_forward MODEL [TOKENS [SEQ_LEN [THREADS [DEVICE]]]]      default 8192 2048 all cpu
 *
 * The bound: the time that the pass's useful flops would take at the speed of products in the model's own shapes
 * (best of REPEATS per shape): on the CPU cblas_sgemm with all threads, each on rows of its own, on a device the
 * backend's gemm() of DEVICE_ROWS rows. Causal attention counts half its square. The pass is run twice: the second
 * finds the weights where the first has put them. Tokens are random: time does not depend on them. Prints one line
 * per shape, then tokens/s, GFLOP/s and the fraction, without and with logits. */
#include "model.h"

#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define REPEATS 5
#define ROWS 2048
#define DEVICE_ROWS 8192

static kvc_error error;

static void must(kvc_status status)
{
    if (status == KVC_OK) return;
    fprintf(stderr, "bench_forward: %s\n", error.message);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *buffer(backend *b, size_t n, bool weight)
{
    void *dev;
    float *x = malloc(n * sizeof *x);
    if (!x) exit(1);
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) x[i] = (float)((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-24f - 0.5f;
    must(b->buffer_new(b, n * sizeof *x, &dev, &error));
    must(weight ? b->load_weight(b, dev, x, n, &error) : b->upload(b, dev, x, n * sizeof *x, &error));
    must(b->sync(b, &error));
    free(x);
    return dev;
}

/* GFLOP/s of gemm() on a device. */
static double device_speed(backend *b, int n, int k)
{
    float *x = buffer(b, (size_t)DEVICE_ROWS * k, false), *w = buffer(b, (size_t)n * k, true),
          *y = buffer(b, (size_t)DEVICE_ROWS * n, false);
    double best = 1e30, flops = 2.0 * DEVICE_ROWS * n * k;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        enum { CALLS = 10 };
        double start = now();
        for (int i = 0; i < CALLS; i++) must(b->gemm(b, DEVICE_ROWS, n, k, x, w, NULL, 0, y, &error));
        must(b->sync(b, &error));
        double seconds = (now() - start) / CALLS;
        if (seconds < best) best = seconds;
    }
    b->buffer_free(b, x);
    b->buffer_free(b, w);
    b->buffer_free(b, y);
    printf("  gemm %d x %d x %d: %.1f GFLOP/s\n", DEVICE_ROWS, n, k, 1e-9 * flops / best);
    return 1e-9 * flops / best;
}

/* GFLOP/s of [ROWS][k] x [n][k]^T, an equal share of the rows per thread. */
static double sgemm_speed(int n, int k)
{
    float *x = calloc((size_t)ROWS * k, sizeof *x), *w = calloc((size_t)n * k, sizeof *w);
    float *y = calloc((size_t)ROWS * n, sizeof *y);
    double best = 1e30;
    if (!x || !w || !y) exit(1);
    for (size_t i = 0; i < (size_t)ROWS * k; i++) x[i] = (float)(i % 97) * 0.01f;
    for (size_t i = 0; i < (size_t)n * k; i++) w[i] = (float)(i % 89) * 0.01f;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double start = now();
#pragma omp parallel
        {
            int threads = omp_get_num_threads(), me = omp_get_thread_num();
            int first = ROWS * me / threads, rows = ROWS * (me + 1) / threads - first;
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, n, k, 1.0f, x + (size_t)first * k, k, w, k,
                        0.0f, y + (size_t)first * n, n);
        }
        double seconds = now() - start;
        if (seconds < best) best = seconds;
    }
    free(x);
    free(w);
    free(y);
    printf("  sgemm %d x %d x %d: %.1f GFLOP/s\n", ROWS, n, k, 2e-9 * ROWS * n * k / best);
    return 2e-9 * ROWS * n * k / best;
}

typedef struct work {
    backend *device;
    double flops, bound_seconds;
} work;

static void add_product(work *w, double tokens, int n, int k, int count)
{
    double flops = 2.0 * tokens * n * k * count;
    w->flops += flops;
    w->bound_seconds += 1e-9 * flops / (w->device ? device_speed(w->device, n, k) : sgemm_speed(n, k));
}

/* device: NULL, the CPU. */
static work count_work(backend *device, const model_config *c, double tokens, double sequence)
{
    work w = {.device = device};
    int query = (int)(c->n_heads * c->head_dim), kv = (int)(c->n_kv_heads * c->head_dim), layers = (int)c->n_layers;
    add_product(&w, tokens, query, (int)c->hidden, layers);
    add_product(&w, tokens, kv, (int)c->hidden, 2 * layers);
    add_product(&w, tokens, (int)c->hidden, query, layers);
    add_product(&w, tokens, (int)c->ffn, (int)c->hidden, 2 * layers);
    add_product(&w, tokens, (int)c->hidden, (int)c->ffn, layers);
    double attention = 2.0 * tokens * sequence * query * layers;
    w.bound_seconds *= (w.flops + attention) / w.flops; /* at the mean speed of the others */
    w.flops += attention;
    return w;
}

static void report(const char *what, double tokens, double seconds, const work *w)
{
    printf("%s: %.0f tokens in %.2f s = %.0f tokens/s", what, tokens, seconds, tokens / seconds);
    if (w)
        printf(", %.1f GFLOP/s of %.1f = %.3f of the bound", 1e-9 * w->flops / seconds,
               1e-9 * w->flops / w->bound_seconds, w->bound_seconds / seconds);
    putchar('\n');
}

static sequence_set random_tokens(const model_config *c, size_t tokens, size_t length)
{
    sequence_set s = {.n = (tokens + length - 1) / length};
    uint32_t state = 1;
    s.ids = malloc(tokens * sizeof *s.ids);
    s.first = malloc((s.n + 1) * sizeof *s.first);
    s.file = calloc(s.n, sizeof *s.file);
    if (!s.ids || !s.first || !s.file) exit(1);
    for (size_t i = 0; i < tokens; i++) s.ids[i] = (state = state * 1664525u + 1013904223u) % c->vocab;
    for (size_t i = 0; i <= s.n; i++) s.first[i] = i * length < tokens ? i * length : tokens;
    return s;
}

int main(int argc, char **argv)
{
    size_t tokens = argc > 2 ? strtoul(argv[2], NULL, 10) : 8192,
           length = argc > 3 ? strtoul(argv[3], NULL, 10) : 2048;
    int threads = argc > 4 ? atoi(argv[4]) : 0;
    const char *device = argc > 5 ? argv[5] : "cpu";
    model *m;
    backend *b;
    hidden_states *hidden;
    struct rusage usage;
    if (argc < 2 || tokens < 2 || length < 2)
        return fprintf(stderr, "bench_forward MODEL [TOKENS [SEQ_LEN [THREADS [DEVICE]]]]\n"), 2;
    must(backend_open(&b, device, threads, &error));
    must(model_open(&m, argv[1], false, &error));
    sequence_set set = random_tokens(&m->config, tokens, length);
    logit_row *rows = malloc(tokens * sizeof *rows);
    must(hidden_new(&hidden, b, tokens, m->config.hidden, 0, NULL, &error));
    must(model_embed(m, &set, hidden, &error));
    work w = count_work(b->peak(b) ? b : NULL, &m->config, (double)tokens, (double)length);
    double begin = now();
    must(model_layers(m, b, &set, hidden, 0, m->config.n_layers, NULL, NULL, "bench", &error));
    double start = now();
    must(model_embed(m, &set, hidden, &error));
    must(b->sync(b, &error));
    double embedded = now();
    must(model_layers(m, b, &set, hidden, 0, m->config.n_layers, NULL, NULL, "bench", &error));
    double middle = now();
    must(model_compare(m, b, &set, hidden, hidden, rows, NULL, &error));
    double end = now();
    report("first pass", (double)tokens, start - begin, &w);
    report("forward", (double)tokens, middle - embedded, &w);
    report("forward with logits", (double)tokens, end - embedded, NULL);
    getrusage(RUSAGE_SELF, &usage);
    memory_need need = model_memory(&m->config, b, tokens, length, 0);
    printf("peak memory %.1f MB, formula %.1f MB beside %.1f MB of weights\n", (double)usage.ru_maxrss / 1024,
           (double)(need.host + (b->peak(b) ? 0 : need.dev)) / 1048576, (double)weights_bytes(m->weights) / 1048576);
    hidden_free(hidden);
    sequences_free(&set);
    free(rows);
    model_close(m);
    b->close(b);
    return 0;
}
