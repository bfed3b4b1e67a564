/* test_gpu_attend.cu - the attention kernels against attention in double over what libkvc decodes, on a GPU or (built
 * as C++) emulated. Relative error of all outputs below 2e-3; lengths around every border; outputs and scratch
 * poisoned; a query that is not finite spoils its own row alone. Skips (77) where there is no GPU. */
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

static attend_layer to_device(device_arena &a, const attend_case &c)
{
    attend_layer l = c.layer;
    const attend_shape &s = c.shape;
    size_t heads = s.n_heads, d = s.d;
    l.pool = a.copy(l.pool, c.pool_bytes);
    l.rows = a.copy(l.rows, c.rows_bytes / 2);
    l.page_table = a.copy(l.page_table, (size_t)s.n_sequences * l.page_stride);
    l.length = a.copy(l.length, s.n_sequences);
    l.packed = a.copy(l.packed, s.n_sequences);
    l.fold = a.copy(l.fold, heads * d * l.key_latent);
    l.bias = a.copy(l.bias, heads * d);
    l.unfold = a.copy(l.unfold, heads * d * l.value_latent);
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
    attend_layer l = to_device(a, c);
    attend_work w = make_work<P>(a, c, n_blocks);
    float *out = a.make<float>(n);
    attend_batch b = {};
    b.queries = a.copy(queries, n), b.out = out;
    b.n_sequences = s.n_sequences, b.n_queries = s.n_queries;
    b.score_scale = 1.0f / sqrtf((float)s.d), b.sliding_window = s.sliding_window, b.softcap = s.softcap;
    describe_call<P>(&b, c.slots, a.copy(c.slots, s.n_sequences));
#ifndef KVC_EMULATE
    device_check(cudaFuncSetAttribute(attend_pages<P>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      (int)attend<P>::SHARED_BYTES),
                 "shared memory");
#endif
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
    uint32_t n, of[40];
};

/* Costs go by the groups of words that heads have in products of bytes. */
template <typename P> static void check_costs(const attend_case &c)
{
    const attend_layer &l = c.layer;
    with_costs += l.costs != NULL;
#ifdef KVC_EMULATE
    typedef attend_few_cut<P, 1, 1, FEW_TABLE> few;
    if constexpr (bytes_fit<few>::FIT && few::key_side::TABLE && few::value_side::TABLE) {
        typedef typename few::key_side key_side;
        typedef typename few::value_side value_side;
        auto most = [](int a, int b) { return a > b ? a : b; };
        auto groups = [&](uint32_t i) {
            return 62 * most(key_side::LEAST_GROUPS, key_side::groups_of(key_side::head_of(l.key_counts, i))) +
                   95 * most(value_side::LEAST_GROUPS, value_side::groups_of(value_side::head_of(l.value_counts, i)));
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

/* Every number of queries for a group: the order of columns has nothing to do with codecs. */
template <int GROUP, int COLUMNS, int WARPS> static void check_group(void)
{
    typedef attend_params<64, GROUP, COLUMNS, 16, 2, WARPS, half_rows<64, 16>, half_rows<64, 16>> P;
    static const lengths tokens = {2, {16, 140}};
    for (uint32_t n_queries = 1; n_queries <= 16; n_queries++)
        check_case<P>(shape_of<P>("fp16", "fp16", n_queries, tokens), 2, true);
}

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

#ifdef __SANITIZE_ADDRESS__
/* One of each kind: with the sanitizers the rest takes a quarter of an hour to build. */
static void check_kernels(void)
{
    CASE(64, 4, 8, 16, half_rows<64 AND 16>, half_rows<64 AND 16>, "fp16", "fp16", 1);
    CASE(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, int_tok<64 AND 4 AND 64>, "int4.ch64", "int4.tok", 1);
    CASE(64, 4, 8, 64, int_tok<64 AND 2 AND 64 AND 32>, int_ch<64 AND 4 AND 64 AND 64>, "int2.tok32", "int4.ch64", 1);
    CASE(64, 4, 8, 64, table<64 AND 4 AND 8 AND 64>, int_tok<64 AND 4 AND 64>, "vq4x8+klt", "int4.tok+had", 1);
    CASE(64, 4, 8, 64, byte_table<64 AND 4 AND 64>, byte_table<64 AND 8 AND 64>, "vq4x8.bytes+klt", "vq8x8.bytes", 1);
    CASE(64, 4, 8, 64, shared<64 AND 64 AND 64>, shared<64 AND 64 AND 64>, "vq[8]x8+klt", "vq[8]x8+klt", 1);
    CASE(64, 4, 8, 64, byte_shared<64 AND 64 AND 64>, int_tok<64 AND 4 AND 64>, "vq[8]x8.bytes+klt", "int4.tok", 1);
    CASE(64, 4, 8, 64, mixed<48 AND 64 AND 0x0200000503u AND 7 AND SINGLE_HEAD AND 64>,
         segments<64 AND 0x02000400u AND 16 AND 64>, "vq[3*1,5*2,2*16]x7.head", "seg[0,4,0,2,0,0,0,0].ch16", 1);
    QUERIES(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, int_tok<64 AND 4 AND 64>, "int4.ch64", "int4.tok");
    WINDOW(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, int_tok<64 AND 4 AND 64>, "int4.ch64", "int4.tok");
}
static void check_numbers(void) {}
#else
/* More pages than a warp has numbers of at a time. */
static void check_long(void)
{
    static const lengths tokens = {8, {5200, 1, 2300, 64, 0, 3000, 1, 0}};
    check<attend_params<64, 4, 8, 64, 3, 4, int_ch<64, 4, 64, 64>, int_tok<64, 4, 64>>>("int4.ch64", "int4.tok", 1,
                                                                                        tokens, 1);
}

/* More sequences than a block lists by itself. */
template <typename KEY, typename VALUE> static void check_many(const char *key, const char *value)
{
    lengths tokens = {40, {0}};
    for (uint32_t i = 0; i < tokens.n; i++) tokens.of[i] = i % 7 == 3 ? 0 : (i + 1) * 37 % 240;
    check<attend_params<64, 4, 8, 64, 3, 4, KEY, VALUE>>(key, value, 1, tokens, 3);
}

static void check_groups(void)
{
    check_group<1, 8, 4>();
    check_group<5, 8, 2>();
    check_group<7, 8, 4>();
    check_group<16, 16, 4>();
}

static void check_batches(void)
{
    QUERIES(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, int_tok<64 AND 4 AND 64>, "int4.ch64", "int4.tok");
    QUERIES(64, 7, 8, 32, int_ch<64 AND 2 AND 32 AND 32>, int_tok<64 AND 8 AND 32>, "int2.ch32", "int8.tok");
    QUERIES(64, 3, 8, 64, int_tok<64 AND 4 AND 64>, int_tok<64 AND 4 AND 64>, "int4.tok", "int4.tok");
    QUERIES(64, 16, 16, 32, table<64 AND 4 AND 8 AND 32>, int_tok<64 AND 4 AND 32>, "vq4x8+klt", "int4.tok");
    QUERIES(64, 4, 8, 64, shared<64 AND 64 AND 64>, shared<64 AND 64 AND 64>, "vq[8]x8+klt", "vq[8]x8+klt");
    QUERIES(64, 4, 8, 64, byte_shared<64 AND 64 AND 64>, byte_shared<64 AND 64 AND 64>, "vq[8]x8.bytes+klt",
            "vq[8]x8.bytes+klt");
}

static void check_scalars(void)
{
    CASE(64, 4, 8, 16, half_rows<64 AND 16>, half_rows<64 AND 16>, "fp16", "fp16", 1);
    CASE(128, 8, 16, 16, half_rows<128 AND 16>, half_rows<128 AND 16>, "fp16", "fp16", 2);
    CASE(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, int_tok<64 AND 4 AND 64>, "int4.ch64", "int4.tok", 1);
    CASE(128, 4, 8, 64, int_ch<128 AND 2 AND 64 AND 64>, int_tok<128 AND 2 AND 64>, "int2.ch64", "int2.tok", 1);
    CASE(128, 8, 8, 32, int_ch<128 AND 8 AND 32 AND 64>, int_tok<128 AND 8 AND 32>, "int8.ch64", "int8.tok", 1);
    CASE(128, 4, 8, 64, int_ch<128 AND 4 AND 64 AND 32>, int_tok<128 AND 2 AND 64>, "int4.ch32", "int2.tok", 1);
    CASE(128, 4, 8, 32, int_ch<128 AND 8 AND 32 AND 64>, int_tok<128 AND 8 AND 32>, "int8.ch64", "int8.tok", 1);
    CASE(64, 3, 8, 64, int_tok<64 AND 4 AND 64>, int_tok<64 AND 4 AND 64>, "int4.tok", "int4.tok", 1);
    CASE(128, 2, 8, 64, int_tok<128 AND 2 AND 64>, int_tok<128 AND 8 AND 64>, "int2.tok", "int8.tok", 2);
    CASE(256, 2, 8, 32, int_ch<256 AND 4 AND 32 AND 64>, int_tok<256 AND 4 AND 32>, "int4.ch64", "int4.tok", 1);
    CASE(64, 3, 8, 64, int_tok<64 AND 4 AND 64>, int_tok<64 AND 4 AND 64>, "int4.tok+had", "int4.tok+had", 2);
    CASE(96, 4, 16, 64, int_ch<96 AND 3 AND 64 AND 32>, int_tok<96 AND 6 AND 64>, "int3.ch32", "int6.tok", 4);
    CASE(80, 1, 8, 64, int_ch<80 AND 4 AND 64 AND 16>, int_tok<80 AND 8 AND 64>, "int4.ch16", "int8.tok", 1);
    CASE(256, 2, 8, 16, int_ch<256 AND 1 AND 16 AND 64>, int_tok<256 AND 1 AND 16>, "int1.ch64", "int1.tok", 1);
    CASE(64, 8, 16, 32, int_ch<64 AND 6 AND 32 AND 32>, int_tok<64 AND 3 AND 32>, "int6.ch32", "int3.tok", 2);
    CASE(64, 1, 16, 64, int_ch<64 AND 4 AND 64 AND 64>, half_rows<64 AND 64>, "int4.ch64", "fp16", 16);
}

/* Scales per channel on both sides: of more tokens than a tile has, of as many, of fewer; and several scales a token:
 * fields of a byte that have one each, bytes of a row that do, both, and rows that no power of two divides. */
static void check_groups_of_scales(void)
{
    CASE(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, int_ch<64 AND 4 AND 64 AND 64>, "int4.ch64", "int4.ch64", 1);
    CASE(128, 4, 8, 32, int_ch<128 AND 2 AND 32 AND 64>, int_ch<128 AND 2 AND 32 AND 64>, "int2.ch64", "int2.ch64",
         2);
    CASE(64, 3, 8, 64, int_tok<64 AND 4 AND 64>, int_ch<64 AND 3 AND 64 AND 16>, "int4.tok", "int3.ch16+had", 1);
    CASE(96, 2, 8, 64, int_tok<96 AND 8 AND 64>, int_ch<96 AND 6 AND 64 AND 32>, "int8.tok", "int6.ch32", 1);
    CASE(80, 1, 8, 64, half_rows<80 AND 64>, int_ch<80 AND 8 AND 64 AND 64>, "fp16", "int8.ch64", 1);
    CASE(256, 2, 8, 16, int_ch<256 AND 1 AND 16 AND 64>, int_ch<256 AND 1 AND 16 AND 64>, "int1.ch64", "int1.ch64",
         1);
    CASE(128, 4, 8, 64, int_ch<128 AND 4 AND 64 AND 64>, int_ch<128 AND 2 AND 64 AND 64>, "int4.ch64", "int2.ch64",
         1);
    CASE(64, 4, 8, 64, byte_table<64 AND 4 AND 64>, int_ch<64 AND 8 AND 64 AND 64>, "vq4x8.bytes", "int8.ch64", 1);
    CASE(64, 16, 16, 32, int_ch<64 AND 8 AND 32 AND 32>, int_ch<64 AND 4 AND 32 AND 32>, "int8.ch32", "int4.ch32", 1);
    CASE(128, 4, 8, 64, int_tok<128 AND 2 AND 64 AND 32>, int_tok<128 AND 2 AND 64 AND 32>, "int2.tok32",
         "int2.tok32", 1);
    CASE(128, 8, 8, 64, int_tok<128 AND 4 AND 64 AND 32>, int_tok<128 AND 4 AND 64 AND 64>, "int4.tok32",
         "int4.tok64", 2);
    CASE(64, 4, 8, 64, int_ch<64 AND 2 AND 64 AND 32>, int_tok<64 AND 2 AND 64 AND 32>, "int2.ch32", "int2.tok32", 1);
    CASE(64, 2, 8, 32, int_tok<64 AND 8 AND 32 AND 16>, int_tok<64 AND 1 AND 32 AND 16>, "int8.tok16+had",
         "int1.tok16", 2);
    CASE(96, 3, 8, 64, int_tok<96 AND 3 AND 64 AND 32>, int_tok<96 AND 6 AND 64 AND 48>, "int3.tok32", "int6.tok48",
         1);
    CASE(80, 4, 16, 32, int_tok<80 AND 4 AND 32 AND 16>, int_tok<80 AND 8 AND 32 AND 16>, "int4.tok16", "int8.tok16",
         4);
    CASE(256, 2, 8, 16, int_tok<256 AND 4 AND 16 AND 32>, int_tok<256 AND 4 AND 16 AND 128>, "int4.tok32",
         "int4.tok128", 1);
    CASE(64, 4, 8, 64, table<64 AND 4 AND 8 AND 64>, int_tok<64 AND 6 AND 64 AND 32>, "vq4x8+klt", "int6.tok32", 1);
}

static void check_shared(void)
{
    CASE(64, 4, 8, 64, shared<64 AND 64 AND 64>, shared<64 AND 64 AND 64>, "vq[8]x8+klt", "vq[8]x8+klt", 1);
    CASE(128, 4, 8, 64, shared<128 AND 64 AND 64>, shared<128 AND 64 AND 64>, "vq[4]x8+klt", "vq[10]x8+klt", 1);
    CASE(64, 3, 8, 64, shared<64 AND 64 AND 64>, shared<64 AND 64 AND 64>, "vq[2]x8+klt", "vq[36]x8+klt", 1);
    CASE(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, shared<64 AND 64 AND 64>, "int4.ch64", "vq[20]x8+klt", 1);
}

/* With byte tables: few columns, and many, which go in fours; heads of every length of codes; a tile that is half of
 * a page; so many codes that there are no products of bytes. */
static void check_byte_shared(void)
{
    CASE(64, 4, 8, 64, byte_shared<64 AND 64 AND 64>, byte_shared<64 AND 64 AND 64>, "vq[8]x8.bytes+klt",
         "vq[16]x8.bytes+klt", 1);
    CASE(128, 4, 8, 64, byte_shared<128 AND 64 AND 64>, byte_shared<128 AND 64 AND 64>, "vq[4]x8.bytes+klt",
         "vq[10]x8.bytes+klt", 1);
    CASE(64, 3, 8, 32, byte_shared<64 AND 32 AND 64>, byte_shared<64 AND 32 AND 64>, "vq[2]x8.bytes+klt",
         "vq[36]x8.bytes+klt", 1);
    CASE(128, 1, 8, 32, byte_shared<128 AND 32 AND 96>, byte_shared<128 AND 32 AND 96>, "vq[16]x8.bytes",
         "vq[14]x8.bytes", 4);
    CASE(80, 2, 8, 64, byte_shared<80 AND 64 AND 80>, byte_shared<80 AND 64 AND 80>, "vq[3]x8.bytes",
         "vq[28]x8.bytes", 2);
    CASE(128, 2, 8, 32, byte_shared<128 AND 32 AND 128>, byte_shared<128 AND 32 AND 128>, "vq[16]x8.bytes",
         "vq[48]x8.bytes", 1);
    CASE(64, 8, 8, 64, byte_shared<64 AND 64 AND 64>, byte_shared<64 AND 64 AND 64>, "vq[12]x8.bytes",
         "vq[6]x8.bytes", 2);
    CASE(64, 4, 8, 64, half_rows<64 AND 64>, byte_shared<64 AND 64 AND 64>, "fp16", "vq[20]x8.bytes", 1);
}

/* Beside integers and other byte tables: all in products of bytes. */
static void check_byte_shared_beside(void)
{
    CASE(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, byte_shared<64 AND 64 AND 64>, "int4.ch64", "vq[20]x8.bytes",
         1);
    CASE(128, 4, 8, 64, byte_shared<128 AND 64 AND 64>, int_tok<128 AND 8 AND 64>, "vq[10]x8.bytes+klt",
         "int8.tok+had", 1);
    CASE(64, 8, 8, 32, int_ch<64 AND 8 AND 32 AND 64>, byte_shared<64 AND 32 AND 64>, "int8.ch64",
         "vq[6]x8.bytes+klt", 1);
    CASE(64, 3, 8, 64, byte_shared<64 AND 64 AND 64>, int_ch<64 AND 4 AND 64 AND 64>, "vq[4]x8.bytes", "int4.ch64",
         2);
    CASE(128, 2, 8, 64, int_tok<128 AND 2 AND 64>, byte_shared<128 AND 64 AND 64>, "int2.tok", "vq[7]x8.bytes", 1);
    CASE(64, 4, 8, 32, byte_table<64 AND 4 AND 32>, byte_shared<64 AND 32 AND 64>, "vq4x8.bytes+klt",
         "vq[16]x8.bytes+klt", 1);
    CASE(128, 4, 8, 32, int_ch<128 AND 6 AND 32 AND 64>, byte_shared<128 AND 32 AND 64>, "int6.ch64+had",
         "vq[14]x8.bytes", 1);
    CASE(64, 4, 8, 64, byte_shared<64 AND 64 AND 64>, int_tok<64 AND 6 AND 64>, "vq[20]x8.bytes", "int6.tok+had", 1);
    CASE(96, 2, 8, 64, byte_shared<96 AND 64 AND 64>, int_ch<96 AND 6 AND 64 AND 64>, "vq[8]x8.bytes", "int6.ch64",
         1);
    CASE(128, 1, 8, 64, byte_shared<128 AND 64 AND 64>, byte_table<128 AND 8 AND 64>, "vq[12]x8.bytes", "vq8x8.bytes",
         4);
}

static void check_tables(void)
{
    CASE(128, 4, 8, 64, table<128 AND 4 AND 8 AND 64>, table<128 AND 4 AND 8 AND 64>, "vq4x8+klt", "vq4x8+klt", 1);
    CASE(128, 8, 8, 64, table<128 AND 8 AND 8 AND 64>, table<128 AND 8 AND 8 AND 64>, "vq8x8+klt", "vq8x8+klt", 1);
    CASE(64, 4, 8, 64, table<64 AND 4 AND 6 AND 64>, table<64 AND 8 AND 8 AND 64>, "vq4x6+klt", "vq8x8+klt", 1);
    CASE(128, 4, 8, 64, table<128 AND 2 AND 8 AND 64>, table<128 AND 2 AND 6 AND 64>, "vq2x8+klt", "vq2x6+klt", 1);
    CASE(64, 4, 8, 64, table<64 AND 1 AND 4 AND 64>, table<64 AND 1 AND 4 AND 64>, "lut4", "lut4", 1);
    CASE(256, 2, 8, 32, table<256 AND 16 AND 8 AND 32>, table<256 AND 16 AND 8 AND 32>, "vq16x8", "vq16x8", 1);
    CASE(96, 3, 8, 64, table<96 AND 4 AND 8 AND 64>, table<96 AND 4 AND 8 AND 64>, "vq4x8", "vq4x8+klt", 2);
    CASE(64, 4, 8, 64, table<64 AND 4 AND 8 AND 64>, int_tok<64 AND 4 AND 64>, "vq4x8+klt", "int4.tok+had", 1);
}

/* Few columns, and many, for which tables are of halves. Beside integers, and other tables. */
static void check_byte_tables(void)
{
    CASE(128, 4, 8, 64, byte_table<128 AND 4 AND 64>, byte_table<128 AND 4 AND 64>, "vq4x8.bytes+klt",
         "vq4x8.bytes+klt", 1);
    CASE(128, 4, 8, 64, byte_table<128 AND 8 AND 64>, byte_table<128 AND 8 AND 64>, "vq8x8.bytes+klt",
         "vq8x8.bytes+klt", 1);
    CASE(64, 2, 8, 64, byte_table<64 AND 4 AND 64>, byte_table<64 AND 8 AND 64>, "vq4x8.bytes+klt", "vq8x8.bytes", 2);
    CASE(64, 4, 8, 32, byte_table<64 AND 8 AND 32>, byte_table<64 AND 4 AND 32>, "vq8x8.bytes", "vq4x8.bytes", 3);
    CASE(256, 3, 8, 32, byte_table<256 AND 4 AND 32>, byte_table<256 AND 4 AND 32>, "vq4x8.bytes", "vq4x8.bytes", 1);
    CASE(256, 1, 8, 64, byte_table<256 AND 8 AND 64>, byte_table<256 AND 8 AND 64>, "vq8x8.bytes", "vq8x8.bytes", 4);
    CASE(96, 4, 8, 64, byte_table<96 AND 4 AND 64>, byte_table<96 AND 4 AND 64>, "vq4x8.bytes", "vq4x8.bytes", 1);
    CASE(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, byte_table<64 AND 4 AND 64>, "int4.ch64", "vq4x8.bytes", 1);
    CASE(64, 4, 8, 64, byte_table<64 AND 8 AND 64>, int_tok<64 AND 4 AND 64>, "vq8x8.bytes", "int4.tok", 1);
    CASE(64, 4, 8, 64, byte_table<64 AND 4 AND 64>, table<64 AND 4 AND 8 AND 64>, "vq4x8.bytes", "vq4x8", 1);
    CASE(64, 4, 8, 64, staged_table<64 AND 4 AND 6 AND 64 AND 64 AND true>,
         staged_table<64 AND 4 AND 4 AND 64 AND 64 AND true>, "vq4x6.bytes", "vq4x4.bytes", 1);
    CASE(64, 4, 8, 16, byte_table<64 AND 4 AND 16>, byte_table<64 AND 4 AND 16>, "vq4x8.bytes", "vq4x8.bytes", 1);
}

/* Odd numbers of bits, tables of heads and of codes, rows that end in half of eight codes; a tile that is a page, and
 * a part of one; beside other codecs. */
static void check_singles(void)
{
    CASE(128, 4, 8, 64, single<128 AND 4 AND 8 AND SINGLE_CODE AND 64>,
         single<128 AND 4 AND 8 AND SINGLE_HEAD AND 64>, "vq4x8.static", "vq4x8.head+klt", 1);
    CASE(64, 4, 8, 16, single<64 AND 1 AND 3 AND SINGLE_HEAD AND 16>, single<64 AND 2 AND 10 AND SINGLE_SIDE AND 16>,
         "lut3.head", "vq2x10", 1);
    CASE(80, 2, 8, 64, single<80 AND 4 AND 8 AND SINGLE_SIDE AND 64>, single<80 AND 1 AND 5 AND SINGLE_CODE AND 64>,
         "vq4x8", "lut5.static", 3);
    CASE(256, 1, 8, 32, single<256 AND 16 AND 12 AND SINGLE_SIDE AND 32>,
         single<256 AND 8 AND 7 AND SINGLE_CODE AND 32>, "vq16x12", "vq8x7.static", 1);
    CASE(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, single<64 AND 1 AND 1 AND SINGLE_SIDE AND 64>, "int4.ch64",
         "lut1", 1);
    CASE(80, 4, 8, 64, ints<80 AND 2 AND STAGED_CH AND 64 AND 64>, ints<80 AND 3 AND STAGED_TOK AND 80 AND 64>,
         "int2.ch64", "int3.tok", 1);
    CASE(128, 8, 8, 16, ints<128 AND 4 AND STAGED_TOK AND 8 AND 16>, ints<128 AND 6 AND STAGED_CH AND 8 AND 16>,
         "int4.tok8", "int6.ch8+had", 1);
    CASE(64, 3, 8, 32, ints<64 AND 8 AND STAGED_CH AND 8 AND 32>, ints<64 AND 1 AND STAGED_TOK AND 8 AND 32>,
         "int8.ch8", "int1.tok8", 2);
    CASE(64, 4, 8, 64, single<64 AND 8 AND 11 AND SINGLE_HEAD AND 64>, byte_shared<64 AND 64 AND 64>, "vq8x11.head",
         "vq[20]x8.bytes", 1);
}

/* Every length; channels without a code, and rows that end within a product. */
static void check_mixes(void)
{
    CASE(64, 4, 8, 64, mixed<64 AND 64 AND 0x06000800u AND 8 AND SINGLE_SIDE AND 64>,
         mixed<48 AND 64 AND 0x0200000503u AND 7 AND SINGLE_HEAD AND 64>, "vq[8*2,6*8]x8+klt",
         "vq[3*1,5*2,2*16]x7.head", 1);
    CASE(128, 3, 8, 32, mixed<32 AND 128 AND 0x010204u AND 10 AND SINGLE_CODE AND 32>,
         mixed<112 AND 128 AND 0x0101030408u AND 6 AND SINGLE_CODE AND 32>, "vq[4*1,2*2,1*4]x10.static",
         "vq[8*1,4*2,3*4,1*8,1*16]x6.static+klt", 4);
}

/* Eighths of eight channels, of more, of a number that pairs alone divide. */
static void check_segments(void)
{
    CASE(128, 4, 8, 64, segments<128 AND 0x0000000202040408u AND 64 AND 64>,
         segments<128 AND 0x01020304u AND 0 AND 64>, "seg[8,4,4,2,2,0,0,0].ch64+klt", "seg[4,3,2,1,0,0,0,0].static",
         1);
    CASE(64, 4, 8, 16, segments<64 AND 0x0102030405060708u AND 32 AND 16>, segments<64 AND 0x02000400u AND 16 AND 16>,
         "seg[8,7,6,5,4,3,2,1].ch32", "seg[0,4,0,2,0,0,0,0].ch16", 2);
    CASE(96, 2, 8, 64, segments<96 AND 0x0102030507u AND 8 AND 64>, segments<96 AND 0x0400000000000305u AND 0 AND 64>,
         "seg[7,5,3,2,1,0,0,0].ch8", "seg[5,3,0,0,0,0,0,4].static+had", 3);
    CASE(80, 1, 8, 64, half_rows<80 AND 64>, segments<80 AND 0x0001010101010101u AND 64 AND 64>, "fp16",
         "seg[1,1,1,1,1,1,1,0].ch64", 1);
}

static void check_windows(void)
{
    WINDOW(64, 4, 8, 16, half_rows<64 AND 16>, half_rows<64 AND 16>, "fp16", "fp16");
    WINDOW(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, int_tok<64 AND 4 AND 64>, "int4.ch64", "int4.tok");
    WINDOW(64, 4, 8, 64, int_tok<64 AND 2 AND 64 AND 32>, int_ch<64 AND 2 AND 64 AND 32>, "int2.tok32", "int2.ch32");
    WINDOW(64, 16, 16, 32, table<64 AND 4 AND 8 AND 32>, int_tok<64 AND 4 AND 32>, "vq4x8+klt", "int4.tok");
    WINDOW(64, 4, 8, 64, byte_table<64 AND 4 AND 64>, byte_table<64 AND 8 AND 64>, "vq4x8.bytes", "vq8x8.bytes");
    WINDOW(64, 3, 8, 64, shared<64 AND 64 AND 64>, shared<64 AND 64 AND 64>, "vq[2]x8+klt", "vq[8]x8+klt");
    WINDOW(64, 4, 8, 64, byte_shared<64 AND 64 AND 64>, int_tok<64 AND 8 AND 64>, "vq[7]x8.bytes", "int8.tok");
    WINDOW(64, 3, 8, 64, byte_shared<64 AND 64 AND 64>, byte_shared<64 AND 64 AND 64>, "vq[2]x8.bytes+klt",
           "vq[20]x8.bytes+klt");
}

static void check_softcap(void)
{
    CAPPED(64, 4, 8, 16, half_rows<64 AND 16>, half_rows<64 AND 16>, "fp16", "fp16");
    CAPPED(64, 4, 8, 64, byte_table<64 AND 8 AND 64>, byte_table<64 AND 4 AND 64>, "vq8x8.bytes", "vq4x8.bytes");
    CAPPED(64, 4, 8, 64, byte_shared<64 AND 64 AND 64>, byte_shared<64 AND 64 AND 64>, "vq[12]x8.bytes",
           "vq[7]x8.bytes");
    CAPPED(64, 4, 16, 64, table<64 AND 4 AND 8 AND 64>, int_tok<64 AND 4 AND 64>, "vq4x8+klt", "int4.tok");
}

static void check_kernels(void)
{
    check_scalars();
    check_groups_of_scales();
    check_tables();
    check_byte_tables();
    check_shared();
    check_byte_shared();
    check_byte_shared_beside();
    check_singles();
    check_mixes();
    check_segments();
    check_long();
    check_many<int_ch<64, 4, 64, 64>, int_tok<64, 4, 64>>("int4.ch64", "int4.tok");
    check_many<byte_table<64, 8, 64>, byte_table<64, 4, 64>>("vq8x8.bytes", "vq4x8.bytes");
    check_many<table<64, 4, 8, 64>, int_tok<64, 4, 64>>("vq4x8+klt", "int4.tok+had");
    check_batches();
    check_softcap();
}

/* Index arithmetic, which is the same in any order of threads. */
static void check_numbers(void)
{
    check_groups();
    check_windows();
}
#endif

int main(void)
{
#ifndef KVC_EMULATE
    int n = 0;
    if (cudaGetDeviceCount(&n) != cudaSuccess || n == 0) {
        puts("skipped: no GPU");
        return 77;
    }
    check_kernels();
    check_numbers();
#else
#ifdef __SANITIZE_ADDRESS__
    const int orders = 1; /* some minutes */
#else
    const int orders = 2;
#endif
    for (int i = 0; i < orders; i++) {
        emulate_order(i == 1);
        check_kernels();
    }
    check_numbers();
#endif
    if (with_costs == 0) failures++;
    return failures != 0;
}
