/* attend_check.h - what test_gpu_attend.cu and test_gpu_codes.cu have in common: the attention kernels against
 * attention in double over what libkvc decodes, on a GPU or (built as C++) emulated. Relative error of all outputs
 * below 2e-3; lengths around every border; outputs and scratch poisoned, and lengths, numbers of pages, pages,
 * fp16 rows and queries as well until the kernel before a call is nearly done; a query that is not finite spoils its
 * own row alone. Skips (77) where there is no GPU. */
#ifndef TESTS_GPU_ATTEND_CHECK_H
#define TESTS_GPU_ATTEND_CHECK_H
#ifdef KVC_EMULATE
#include "emulate.h"
#endif
#include <math.h>
#include "attend_case.h"
#include "attend_params.h"
#include "costs.h"
#include "device_memory.h"

static int failures, with_costs; /* cases whose heads have costs */

template <typename P> static attend_work make_work(device_arena &a, const attend_case &c, uint32_t n_blocks)
{
    const attend_shape &s = c.shape;
    size_t rows = (size_t)s.n_sequences * s.n_queries * s.n_heads * s.group;
    size_t results = n_results<P>(s.n_heads, s.n_sequences, n_blocks, s.n_queries);
    attend_work w;
    w.latent = c.layer.fold ? a.make<float>(rows * c.layer.key_latent) : NULL;
    w.query_bias = c.layer.fold ? a.make<float>(rows) : NULL;
    w.units = a.make<uint32_t>(2 * (s.n_sequences + 1));
    w.sequences = a.make<attend_sequence>(s.n_sequences);
    w.results = (uint32_t(*)[2])a.make<uint32_t>(4 * s.n_heads * s.n_sequences);
    w.partial = a.make<float>(results * P::COLUMNS * result_floats(s.d, c.layer.value_latent));
    return w;
}

/* What a kernel before a call writes: it lets the call start first and takes its time. Until then memory is poisoned.
 */
struct late_copies {
    uint32_t n, words[6];
    const uint32_t *from[6];
    uint32_t *to[6];
};
__global__ void write_late(late_copies c)
{
    let_next_start();
#if !defined(KVC_EMULATE) && defined(__CUDA_ARCH__)
    for (int i = 0; i < 100; i++) __nanosleep(1000);
#endif
    for (uint32_t k = 0; k < c.n; k++)
        for (uint32_t i = threadIdx.x; i < c.words[k]; i += blockDim.x) c.to[k][i] = c.from[k][i];
}
template <typename T> static const T *copy_late(device_arena &a, late_copies *c, const T *from, size_t n)
{
    T *to = a.make<T>(n);
    c->from[c->n] = (const uint32_t *)(const void *)a.copy(from, n), c->to[c->n] = (uint32_t *)(void *)to;
    c->words[c->n++] = (uint32_t)(n * sizeof(T) / 4);
    return to;
}

static attend_layer to_device(device_arena &a, const attend_case &c, late_copies *late)
{
    attend_layer l = c.layer;
    const attend_shape &s = c.shape;
    size_t heads = s.n_heads, d = s.d;
    l.pool = copy_late(a, late, l.pool, c.pool_bytes);
    l.rows = copy_late(a, late, l.rows, c.rows_bytes / 2);
    l.page_table = copy_late(a, late, l.page_table, (size_t)s.n_sequences * l.page_stride);
    l.length = copy_late(a, late, l.length, s.n_sequences);
    l.packed = copy_late(a, late, l.packed, s.n_sequences);
    l.fold = a.copy(l.fold, heads * attend_map_words(s.d, l.key_latent));
    l.bias = a.copy(l.bias, heads * d);
    l.unfold = a.copy(l.unfold, heads * attend_map_words(l.value_latent, s.d));
    l.mean = a.copy(l.mean, heads * d);
    l.costs = a.copy(l.costs, heads + CUDA_MORE_COSTS);
    l.key_counts = a.copy(l.key_counts, heads);
    l.value_counts = a.copy(l.value_counts, heads);
    l.key_table = a.copy(l.key_table, c.key_table_values);
    l.value_table = a.copy(l.value_table, c.value_table_values);
    return l;
}

template <typename P>
static std::vector<float> outputs_of(const attend_case &c, const float *queries, uint32_t n_blocks)
{
    device_arena a;
    const attend_shape &s = c.shape;
    size_t n = (size_t)s.n_sequences * s.n_queries * s.n_heads * s.group * s.d;
    cudaStream_t stream = 0;
    late_copies late = {};
    attend_layer l = to_device(a, c, &late);
    attend_work w = make_work<P>(a, c, n_blocks);
    float *out = a.make<float>(n);
    attend_batch b = {};
    b.queries = copy_late(a, &late, queries, n), b.out = out;
    b.n_sequences = s.n_sequences, b.n_queries = s.n_queries;
    b.score_scale = 1.0f / sqrtf((float)s.d), b.sliding_window = s.sliding_window, b.softcap = s.softcap;
    describe_call<P>(&b, c.slots, a.copy(c.slots, s.n_sequences));
#ifndef KVC_EMULATE
    device_check(cudaFuncSetAttribute(attend_pages<P>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      (int)attend<P>::SHARED_BYTES),
                 "shared memory");
#endif
    allow_early(attend_pages<P>); /* now: it takes time */
    KVC_LAUNCH(write_late, dim3(1), dim3(256), 0, stream, late);
    attend_launch<P>(l, b, w, n_blocks, n_blocks == 1 ? 4 : 0, stream);
    device_sync(s.key);
    std::vector<float> got(n);
    device_copy(got.data(), out, n * sizeof(float));
    return got;
}

template <typename P> static std::vector<float> outputs(const attend_case &c, const float *queries, uint32_t n_blocks)
{
    return with_columns<P>(c.shape.n_queries, [&](auto p) { return outputs_of<decltype(p)>(c, queries, n_blocks); });
}

static void expect(bool good, const attend_shape &s, const char *what, double error)
{
    if (good) return;
    failures++;
    fprintf(stderr, "%s / %s d %u group %u queries %u window %u cap %g: %s (%.3g)\n", s.key, s.value, s.d, s.group,
            s.n_queries, s.sliding_window, (double)s.softcap, what, error);
}

/* Row 1 has a NaN: it is NaN, and all others stay as they were. */
template <typename P> static void check_nan(const attend_case &c, const std::vector<float> &good, uint32_t n_blocks)
{
    size_t d = c.shape.d, n = good.size();
    std::vector<float> queries(c.queries, c.queries + n);
    queries[d + 3] = NAN;
    std::vector<float> got = outputs<P>(c, queries.data(), n_blocks);
    for (size_t i = 0; i < n; i++)
        if (i / d == 1 ? got[i] == got[i] : memcmp(&got[i], &good[i], 4) != 0) {
            expect(false, c.shape, "a NaN query is not in its own row", (double)i);
            return;
        }
}

struct lengths {
    uint32_t n, of[ATTEND_CASE_SEQUENCES];
};

/* Costs go by the groups of words that heads have in products of bytes. */
template <typename P> static void check_costs(const attend_case &c)
{
    const attend_layer &l = c.layer;
    with_costs += l.costs != NULL;
#ifdef KVC_EMULATE
    typedef attend_few_cut<P, 1, 1, FEW_TABLE> few;
    if constexpr (bytes_fit<few>::FIT && bytes_fit<few>::SHARED) {
        typedef typename few::key_side key_side;
        typedef typename few::value_side value_side;
        auto most = [](int a, int b) { return a > b ? a : b; };
        auto groups = [&](uint32_t i) {
            int n = 0;
            if constexpr (key_side::TABLE > 0)
                n += 62 * most(key_side::LEAST_GROUPS,
                               key_side::groups_of(shared_head_of(0, l.key_counts[i], key_side::D)));
            if constexpr (value_side::TABLE > 0)
                n += 95 * most(value_side::LEAST_GROUPS,
                               value_side::groups_of(shared_head_of(0, l.value_counts[i], value_side::D)));
            return n;
        };
        auto cost = [&](uint32_t i) { return l.costs ? l.costs[i + 1] - l.costs[i] : 0; };
        for (uint32_t i = 1; i < l.n_heads; i++)
            expect((groups(i) > groups(0)) == (cost(i) > cost(0)) && (groups(i) < groups(0)) == (cost(i) < cost(0)),
                   c.shape, "costs of heads", i);
    }
#endif
}

/* Outputs against the reference; twice, and beside a NaN, unless `once`. */
template <typename P> static void check_case(const attend_shape &s, uint32_t n_blocks, bool once)
{
    attend_case c;
    attend_case_new(&c, &s);
    check_costs<P>(c);
    std::vector<float> got = outputs<P>(c, c.queries, n_blocks);
    double error = attend_case_error(&c, got.data());
    printf("%-16s %-16s d %3u group %u queries %u window %u cap %g blocks %u: %.1e\n", s.key, s.value, s.d, s.group,
           s.n_queries, s.sliding_window, (double)s.softcap, n_blocks, error);
    expect(error < 2e-3, s, "wrong", error);
    if (!once) {
        std::vector<float> again = outputs<P>(c, c.queries, n_blocks);
        expect(memcmp(got.data(), again.data(), got.size() * sizeof(float)) == 0, s, "differs when run again", 0);
        if (s.n_heads * s.group > 1) check_nan<P>(c, got, n_blocks);
    }
    attend_case_free(&c);
}

template <typename P>
static attend_shape shape_of(const char *key, const char *value, uint32_t n_queries, const lengths &tokens)
{
    attend_shape s = {key, value, 2, P::GROUP, P::D, 64, 4, 64, n_queries, tokens.n, 0, 0.0f, {0}};
    memcpy(s.lengths, tokens.of, sizeof s.lengths);
    return s;
}

template <typename P>
static void check(const char *key, const char *value, uint32_t n_queries, const lengths &tokens, uint32_t n_blocks)
{
    check_case<P>(shape_of<P>(key, value, n_queries, tokens), n_blocks, false);
}

template <typename P> static void check_all(const char *key, const char *value, uint32_t n_queries)
{
    static const lengths borders = {8, {300, 16, 67, 68, 131, 132, 133, 196}},
                         unequal = {8, {20, 700, 64, 65, 63, 17, 400, 261}};
    check<P>(key, value, n_queries, borders, 1);
    check<P>(key, value, n_queries, unequal, 3);
}

/* DIM, group, columns, tile, keys, values; specs; queries */
#define CASE(d, group, columns, tile, keys, values, key, value, n)                                                   \
    check_all<attend_params<d, group, columns, tile, 3, 4, keys, values>>(key, value, n)
#define AND ,

/* Verification batches: columns in one tile, in as many as there are warps, in more, in numbers that neither divide
 * the warps nor are divided by them. */
template <typename P> static void check_queries(const char *key, const char *value)
{
    static const lengths tokens = {3, {16, 300, 150}};
    for (uint32_t n_queries : {2, 3, 5, 9, 16}) check<P>(key, value, n_queries, tokens, 3);
}
#define QUERIES(d, group, columns, tile, keys, values, key, value)                                                   \
    check_queries<attend_params<d, group, columns, tile, 3, 4, keys, values>>(key, value)

/* A sliding window that ends in the fp16 window, in a page, at a page's border, among the sinks, at the first token,
 * before it: what is older is not listed, or hidden. */
template <typename P> static void check_window(const char *key, const char *value)
{
    static const lengths tokens = {4, {300, 16, 67, 133}};
    for (uint32_t window : {1, 40, 104, 168, 233, 298, 5000})
        for (uint32_t n_queries : {1, 5}) {
            attend_shape s = shape_of<P>(key, value, n_queries, tokens);
            s.sliding_window = window;
            check_case<P>(s, 3, true);
        }
}
#define WINDOW(d, group, columns, tile, keys, values, key, value)                                                    \
    check_window<attend_params<d, group, columns, tile, 3, 4, keys, values>>(key, value)

/* Scores that are small beside the cap, about as large, and all at it. */
template <typename P> static void check_caps(const char *key, const char *value)
{
    static const lengths tokens = {4, {300, 16, 67, 133}};
    for (float cap : {0.1f, 2.0f, 50.0f}) {
        attend_shape s = shape_of<P>(key, value, cap == 2.0f ? 1 : 3, tokens); /* one: few columns */
        s.softcap = cap;
        if (cap == 2.0f) s.sliding_window = 100;
        check_case<P>(s, 3, cap != 50.0f);
    }
}
#define CAPPED(d, group, columns, tile, keys, values, key, value)                                                    \
    check_caps<attend_params<d, group, columns, tile, 3, 4, keys, values, true>>(key, value)

/* `kernels` in both orders of threads where they are emulated; `numbers`, index arithmetic, is the same in any. */
static int run_checks(void (*kernels)(void), void (*numbers)(void))
{
#ifndef KVC_EMULATE
    int n = 0;
    if (cudaGetDeviceCount(&n) != cudaSuccess || n == 0) {
        puts("skipped: no GPU");
        return 77;
    }
    kernels();
    numbers();
#else
#ifdef __SANITIZE_ADDRESS__
    const int orders = 1; /* some minutes */
#else
    const int orders = 2;
#endif
    for (int i = 0; i < orders; i++) {
        emulate_order(i == 1);
        kernels();
    }
    numbers();
#endif
    return failures != 0;
}

#endif
