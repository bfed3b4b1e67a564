/* test_gpu_backend.c - the CUDA backend's copies and forward pass against the CPU backend over a table of shapes.
 * fp32 operations agree within 1e-5 or less of their norm, transcoded rows bit for bit. */
#include "gpu_check.h"
#include "params_rig.h"

/* Lengths around tiles, groups of 1 to 8, every tile's head dimension and odd ones; pages smaller and larger than a
 * tile, no window, more sinks than tokens. */
static const shape shapes[] = {
    {1, 1, 1, 64, {4, 64, 64}},   {2, 3, 1, 64, {0, 0, 8}},      {63, 9, 3, 64, {4, 8, 16}},
    {64, 8, 1, 128, {0, 0, 64}},  {65, 3, 3, 80, {1, 0, 8}},     {300, 9, 3, 64, {4, 64, 64}},
    {300, 8, 1, 80, {5, 30, 32}}, {300, 8, 8, 128, {4, 16, 64}}, {300, 16, 2, 96, {3, 7, 8}},
    {257, 2, 1, 24, {3, 0, 128}}, {300, 3, 1, 256, {4, 64, 64}}, {130, 2, 2, 320, {4, 7, 16}},
    {100, 2, 2, 512, {2, 4, 8}},  {200, 2, 1, 64, {250, 4, 8}},  {1100, 6, 2, 128, {4, 500, 64}},
    {300, 4, 2, 66, {4, 20, 64}},
};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

/* ---- copies */

/* Longer than all stages, from and to addresses inside a buffer; the source changes at once. */
static void copies__arrive_whole(void)
{
    size_t n = 7000001;
    float *x = random_floats(n, 1, 1, 0), *changed = memory(n * sizeof *x), *dev = poisoned_on_gpu(n + 3);
    memcpy(changed, x, n * sizeof *x);
    must(gpu->upload(gpu, dev + 3, changed, n * sizeof *x, &error), "upload");
    memset(changed, 0, n * sizeof *x);
    float *back = from_gpu(dev + 3, n), *edge = from_gpu(dev, 3);
    report(memcmp(x, back, n * sizeof *x) == 0, "copies", "28 MB", 0);
    report(isnan(edge[0]) && isnan(edge[2]), "copies keep to their place", "28 MB", 0);
    free(x), free(changed), free(back), free(edge);
    release(dev);
}

/* An upload must not overtake the operation that reads its buffer, nor the next one the upload. */
static void uploads__wait_for_operations_on_their_buffer(void)
{
    size_t n = 2048;
    float *x = random_floats(n * n, 1, 0.02f, 0), *w = random_floats(n * n, 2, 1, 0),
          *other = random_floats(n * n, 3, 1, 0);
    float *dev_x = on_gpu(x, n * n), *dev_w = on_gpu(w, n * n), *want[2], *got[2];
    for (int i = 0; i < 2; i++) {
        float *y = poisoned_on_gpu(n * n);
        must(gpu->upload(gpu, dev_w, i ? other : w, n * n * sizeof *w, &error), "upload");
        must(gpu->gemm(gpu, n, n, n, dev_x, dev_w, NULL, 0, y, &error), "gemm");
        must(gpu->sync(gpu, &error), "sync");
        want[i] = from_gpu(y, n * n);
        release(y);
    }
    float *y[2] = {poisoned_on_gpu(n * n), poisoned_on_gpu(n * n)};
    must(gpu->upload(gpu, dev_w, w, n * n * sizeof *w, &error), "upload");
    for (int i = 0; i < 2; i++) {
        for (int repeat = 0; repeat < 5; repeat++)
            must(gpu->gemm(gpu, n, n, n, dev_x, dev_w, NULL, 0, y[i], &error), "gemm");
        must(gpu->upload(gpu, dev_w, other, n * n * sizeof *w, &error), "upload");
    }
    for (int i = 0; i < 2; i++) {
        got[i] = from_gpu(y[i], n * n);
        report(memcmp(got[i], want[i], n * n * sizeof *w) == 0, "uploads between products", i ? "after" : "before",
               0);
        free(got[i]), free(want[i]);
        release(y[i]);
    }
    release(dev_x), release(dev_w);
    free(x), free(w), free(other);
}

static void buffer_new__is_aligned_and_refuses_the_impossible(void)
{
    void *a = NULL, *b = NULL;
    must(gpu->buffer_new(gpu, 100, &a, &error), "buffer");
    report((uintptr_t)a % 64 == 0, "alignment", "buffer", 0);
    report(gpu->buffer_new(gpu, SIZE_MAX - 5, &b, &error) == KVC_NO_MEMORY && !b, "impossible buffer", "buffer", 0);
    report(gpu->sync(gpu, &error) == KVC_OK, "goes on after running out of memory", "buffer", 0);
    gpu->buffer_free(gpu, a);
    gpu->buffer_free(gpu, NULL);
}

/* ---- products */

static const struct {
    size_t m, n, k;
} products[] = {{1, 1, 1},      {1, 200, 33},  {2, 65, 16},   {63, 70, 8},     {64, 7, 64},
                {130, 800, 24}, {257, 64, 40}, {300, 96, 72}, {1100, 576, 192}};

static void *weight_on_gpu(const float *w, size_t n)
{
    void *dev;
    must(gpu->buffer_new(gpu, n * gpu->weight_bytes, &dev, &error), "buffer");
    must(gpu->load_weight(gpu, dev, w, n, &error), "load_weight");
    return dev;
}

static void gemm__agrees(double tolerance)
{
    for (size_t s = 0; s < 4 * (sizeof products / sizeof *products); s++) {
        size_t m = products[s / 4].m, n = products[s / 4].n, k = products[s / 4].k;
        int accumulate = s % 2, with_bias = s / 2 % 2;
        float *x = random_floats(m * k, 1, 1, 0), *w = random_floats(n * k, 2, 1, 0), *b = random_floats(n, 3, 1, 0);
        float *y = random_floats(m * n, 4, 1, 0), *dev_y = accumulate ? on_gpu(y, m * n) : poisoned_on_gpu(m * n);
        float *dev_x = on_gpu(x, m * k), *dev_w = weight_on_gpu(w, n * k), *dev_b = on_gpu(b, n);
        char text[96];
        snprintf(text, sizeof text, "%s %zu x %zu x %zu bias %d accumulate %d", gpu->name, m, n, k, with_bias,
                 accumulate);
        must(cpu->gemm(cpu, m, n, k, x, w, with_bias ? b : NULL, accumulate, y, &error), text);
        must(gpu->gemm(gpu, m, n, k, dev_x, dev_w, with_bias ? dev_b : NULL, accumulate, dev_y, &error), text);
        check_gpu("gemm", text, m * n, dev_y, y, tolerance);
        release(dev_x), release(dev_w), release(dev_b);
        free(x), free(w), free(b), free(y);
    }
}

/* Products with one x after another, and after x has changed. */
static void gemm__sees_that_x_changes(double tolerance)
{
    enum { M = 70, N = 64, K = 96 };
    float *w = random_floats(N * K, 2, 1, 0), *dev_w = weight_on_gpu(w, N * K), *dev_x = poisoned_on_gpu(M * K);
    for (uint32_t seed = 5; seed < 8; seed++) {
        float *x = random_floats(M * K, seed, 1, 0), *y = memory(M * N * sizeof *y), *dev_y = poisoned_on_gpu(M * N);
        must(gpu->upload(gpu, dev_x, x, M * K * sizeof *x, &error), "upload");
        must(cpu->gemm(cpu, M, N, K, x, w, NULL, 0, y, &error), "gemm");
        for (int twice = 0; twice < 2; twice++)
            must(gpu->gemm(gpu, M, N, K, dev_x, dev_w, NULL, 0, dev_y, &error), "gemm");
        check_gpu("gemm", "of another x", M * N, dev_y, y, tolerance);
        free(x), free(y);
    }
    free(w);
    release(dev_w), release(dev_x);
}

static void output_metric__agrees(double tolerance)
{
    enum { ROWS = 192, HEADS = 3, D = 40 };
    size_t n = (size_t)ROWS * HEADS * D;
    float *w = random_floats(n, 1, 1, 0), *dev_w = weight_on_gpu(w, n), *want = nans(HEADS * D * D),
          *got = nans(HEADS * D * D);
    must(cpu->output_metric(cpu, ROWS, HEADS, D, w, want, &error), "metric");
    must(gpu->output_metric(gpu, ROWS, HEADS, D, dev_w, got, &error), "metric");
    check_floats("output_metric", gpu->name, HEADS * D * D, got, want, tolerance);
    free(w), free(want), free(got);
    release(dev_w);
}

static void rows__are_gathered_and_copied(void)
{
    enum { ROWS = 50, WIDTH = 33, N = 4 };
    const size_t rows[N] = {49, 0, 7, 7};
    float *x = random_floats(ROWS * WIDTH, 1, 1, 0), *dev_x = on_gpu(x, ROWS * WIDTH);
    float *out = poisoned_on_gpu(N * WIDTH), *twin = poisoned_on_gpu(N * WIDTH);
    must(gpu->gather_rows(gpu, N, WIDTH, dev_x, rows, out, &error), "gather_rows");
    must(gpu->copy(gpu, twin, out, N * WIDTH * sizeof *x, &error), "copy");
    float *got = from_gpu(twin, N * WIDTH);
    bool same = true;
    for (size_t i = 0; i < N; i++) same &= memcmp(got + i * WIDTH, x + rows[i] * WIDTH, WIDTH * sizeof *x) == 0;
    report(same, "rows gathered and copied", "4 of 50", 0);
    free(x), free(got);
    release(dev_x), release(out), release(twin);
}

/* ---- rows */

static void rmsnorm__agrees(void)
{
    static const size_t dims[] = {1, 63, 64, 576, 4096};
    for (size_t i = 0; i < 5; i++)
        for (size_t rows = 1; rows <= 301; rows += 300) {
            size_t n = rows * dims[i];
            float *x = random_floats(n, 1, 3, 0), *w = random_floats(dims[i], 2, 1, 0), *y = nans(n);
            float *dev_x = on_gpu(x, n), *dev_w = on_gpu(w, dims[i]), *dev_y = poisoned_on_gpu(n);
            must(cpu->rmsnorm(cpu, rows, dims[i], x, w, 1e-5, y, &error), "rmsnorm");
            must(gpu->rmsnorm(gpu, rows, dims[i], dev_x, dev_w, 1e-5, dev_y, &error), "rmsnorm");
            must(gpu->rmsnorm(gpu, rows, dims[i], dev_x, dev_w, 1e-5, dev_x, &error), "rmsnorm in place");
            check_gpu("rmsnorm", "", n, dev_y, y, 1e-6);
            check_gpu("rmsnorm in place", "", n, dev_x, y, 1e-6);
            release(dev_w);
            free(x), free(w), free(y);
        }
}

static void rope__agrees(const shape *s)
{
    size_t n = (size_t)s->tokens * s->heads * s->d, angles = (size_t)s->tokens * (s->d / 2);
    float *x = random_floats(n, 1, 2, 0), *c = random_floats(angles, 2, 1, 0), *t = random_floats(angles, 3, 1, 0);
    float *dev_x = on_gpu(x, n), *dev_c = on_gpu(c, angles), *dev_t = on_gpu(t, angles);
    must(cpu->rope(cpu, s->tokens, s->heads, s->d, c, t, x, &error), "rope");
    must(gpu->rope(gpu, s->tokens, s->heads, s->d, dev_c, dev_t, dev_x, &error), "rope");
    check_gpu("rope", name_of(s), n, dev_x, x, 1e-6);
    release(dev_c), release(dev_t);
    free(x), free(c), free(t);
}

static void silu_mul__agrees(void)
{
    size_t n = 100003;
    float *gate = random_floats(n, 1, 100, 0), *up = random_floats(n, 2, 1, 0);
    float *dev_gate = on_gpu(gate, n), *dev_up = on_gpu(up, n);
    must(cpu->silu_mul(cpu, n, gate, up, &error), "silu_mul");
    must(gpu->silu_mul(gpu, n, dev_gate, dev_up, &error), "silu_mul");
    check_gpu("silu_mul", "-100 .. 100", n, dev_gate, gate, 1e-6);
    release(dev_up);
    free(gate), free(up);
}

/* ---- attention */

static void attention__agrees(const shape *s, int pages, float spread, double tolerance)
{
    uint32_t n_more = s->tokens > 300 ? 0 : pages % 3 == 0 ? 2 : 0; /* sequences beside the first */
    size_t T = s->tokens * (n_more + 1), q = T * s->heads * s->d, kv = T * s->kv_heads * s->d;
    float *host[5] = {random_floats(q, 1, spread, 0), random_floats(kv, 2, spread, 0), random_floats(kv, 3, 1, 0),
                      random_floats(kv, 4, spread, 0), random_floats(kv, 5, 1, 0)};
    float *dev[5], *out = nans(q), *dev_out = poisoned_on_gpu(q);
    for (int i = 0; i < 5; i++) dev[i] = on_gpu(host[i], i ? kv : q);
    attention_args a = {s->tokens,
                        s->heads,
                        s->kv_heads,
                        s->d,
                        1 / sqrtf((float)s->d),
                        host[0],
                        host[1],
                        host[2],
                        pages & 1 ? host[3] : NULL,
                        pages & 2 ? host[4] : NULL,
                        s->policy,
                        out,
                        n_more};
    attention_args b = a;
    b.q = dev[0], b.k = dev[1], b.v = dev[2], b.out = dev_out;
    b.k_page = pages & 1 ? dev[3] : NULL, b.v_page = pages & 2 ? dev[4] : NULL;
    must(cpu->attention(cpu, &a, &error), "attention");
    must(gpu->attention(gpu, &b, &error), name_of(s));
    char what[64];
    snprintf(what, sizeof what, "attention, %u more, pages of %s%s, spread %g", n_more, pages & 1 ? "k" : "",
             pages & 2 ? "v" : "", spread);
    check_gpu(what, name_of(s), q, dev_out, out, tolerance);
    for (int i = 0; i < 5; i++) free(host[i]), release(dev[i]);
    free(out);
}

/* ---- transcode */

static const char *specs[] = {"fp16",
                              "int8.ch",
                              "int6.ch8",
                              "int4.ch8",
                              "int3.tok",
                              "int2.tok8",
                              "int1.tok",
                              "int4.tok+had",
                              "vq8x8",
                              "lut3",
                              "lut2.static",
                              "int4.tok+klt",
                              "vq4x8+klt",
                              "fp16+smooth",
                              "int4.tok+rot",
                              "vq[4*8,2*16]x8",
                              "vq[16]x8+klt",
                              "vq8x8+klt@joint",
                              "int3.ch8+had@joint"};

static void transcode__has_the_same_bits(const shape *s, const char *spec)
{
    size_t n = (size_t)s->tokens * s->kv_heads * s->d, bytes = n * sizeof(float);
    kvc_codec codec;
    kvc_coder coder;
    if (s->d % 8) return;
    must(kvc_codec_parse(&codec, spec, &error), spec);
    if (kvc_coder_init(&coder, &codec, NULL, s->kv_heads, s->d, s->policy.page, &error) != KVC_OK)
        return; /* no such shape */
    size_t n_params;
    void *params = codec_params(&codec, s->kv_heads, s->d, s->policy.page, 7, &n_params);
    must(kvc_coder_init(&coder, &codec, params, s->kv_heads, s->d, s->policy.page, &error), spec);
    float *x = random_floats(n, 1, 5, 0.5f), *exact = nans(n), *page = nans(n);
    x[n / 2] = -1e30f, x[n / 3] = -0.0f;
    float *dev_x = on_gpu(x, n), *dev_exact = poisoned_on_gpu(n), *dev_page = poisoned_on_gpu(n),
          *dev_alone = poisoned_on_gpu(n);
    must(cpu->transcode(cpu, &coder, &s->policy, s->tokens, x, exact, page, &error), spec);
    must(gpu->transcode(gpu, &coder, &s->policy, s->tokens, dev_x, dev_exact, dev_page, &error), spec);
    must(gpu->transcode(gpu, &coder, &s->policy, s->tokens, dev_x, NULL, dev_alone, &error), spec);
    float *got[3] = {from_gpu(dev_exact, n), from_gpu(dev_page, n), from_gpu(dev_alone, n)};
    report(memcmp(exact, got[0], bytes) == 0, spec, "rounded rows", 0);
    report(memcmp(page, got[1], bytes) == 0, spec, name_of(s), 0);
    report(memcmp(page, got[2], bytes) == 0, spec, "pages alone", 0);
    for (int i = 0; i < 3; i++) free(got[i]);
    release(dev_x), release(dev_exact), release(dev_page), release(dev_alone);
    free(x), free(exact), free(page), free(params);
}

static void transcode__refuses_what_is_not_finite(void)
{
    const kvc_token_policy policy = {0, 0, 64};
    size_t n = 130 * 2 * 64;
    float *page = poisoned_on_gpu(n);
    kvc_codec codec;
    kvc_coder coder;
    must(kvc_codec_parse(&codec, "int4.tok", &error), "int4.tok");
    must(kvc_coder_init(&coder, &codec, NULL, 2, 64, 64, &error), "int4.tok");
    for (int i = 0; i < 3; i++) {
        float bad[] = {NAN, INFINITY, -INFINITY}, *y = random_floats(n, 2, 1, 0);
        y[i * 8000] = bad[i];
        float *dev = on_gpu(y, n);
        kvc_status status = gpu->transcode(gpu, &coder, &policy, 130, dev, NULL, page, &error);
        report(status == KVC_NONFINITE, "transcode", "NaN or infinite", status);
        release(dev);
        free(y);
    }
    release(page);
}

int main(void)
{
    open_backends("cuda");
    copies__arrive_whole();
    uploads__wait_for_operations_on_their_buffer();
    buffer_new__is_aligned_and_refuses_the_impossible();
    gemm__agrees(2e-6);
    gemm__sees_that_x_changes(2e-6);
    output_metric__agrees(2e-6);
    rows__are_gathered_and_copied();
    rmsnorm__agrees();
    silu_mul__agrees();
    for (size_t i = 0; i < N_SHAPES; i++) {
        if (shapes[i].tokens > MOST_TOKENS) continue;
        rope__agrees(&shapes[i]);
        for (int pages = 0; pages < 4; pages++) attention__agrees(&shapes[i], pages, 2, 3e-6);
        attention__agrees(&shapes[i], 3, 30, 2e-4); /* scores of hundreds: their rounding counts */
        for (size_t j = 0; j < sizeof specs / sizeof *specs; j++) transcode__has_the_same_bits(&shapes[i], specs[j]);
    }
    transcode__refuses_what_is_not_finite();
    gpu->close(gpu);
    must(backend_open(&gpu, "cuda:0,fast", 0, &error), "fast");
    gemm__agrees(5e-3);
    gemm__sees_that_x_changes(5e-3);
    output_metric__agrees(5e-3);
    for (size_t i = 0; i < N_SHAPES; i++)
        for (int pages = 0; pages < 4 && shapes[i].tokens <= MOST_TOKENS; pages++)
            attention__agrees(&shapes[i], pages, 2, 2e-3);
    return close_backends();
}
