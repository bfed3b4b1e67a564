/* test_gpu_attend.cu - attention over fp16 rows, integers and tables that lie in shared memory (attend_check.h). Two
 * programs, so that neither compiles for long. */
#include "attend_check.h"

/* Every number of queries for a group: the order of columns has nothing to do with codecs. */
template <int GROUP, int COLUMNS, int WARPS> static void check_group(void)
{
    typedef attend_params<64, GROUP, COLUMNS, 16, 2, WARPS, half_rows<64, 16>, half_rows<64, 16>> P;
    static const lengths tokens = {2, {16, 140}};
    for (uint32_t n_queries = 1; n_queries <= 16; n_queries++)
        check_case<P>(shape_of<P>("fp16", "fp16", n_queries, tokens), 2, true);
}

#ifdef __SANITIZE_ADDRESS__
/* One of each kind: with the sanitizers the rest takes a quarter of an hour to build. */
static void check_kernels(void)
{
    CASE(64, 4, 8, 16, half_rows<64 AND 16>, half_rows<64 AND 16>, "fp16", "fp16", 1);
    CASE(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, int_tok<64 AND 4 AND 64>, "int4.ch64", "int4.tok", 1);
    CASE(64, 4, 8, 64, int_tok<64 AND 2 AND 64 AND 32>, int_ch<64 AND 4 AND 64 AND 64>, "int2.tok32", "int4.ch64", 1);
    CASE(64, 4, 8, 64, table<64 AND 4 AND 8 AND 64>, int_tok<64 AND 4 AND 64>, "vq4x8+klt", "int4.tok+had", 1);
    CASE(64, 4, 8, 64, byte_table<64 AND 4 AND 64>, byte_table<64 AND 8 AND 64>, "vq4x8.bytes+klt", "vq8x8.bytes", 1);
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

/* More sequences than a warp has lanes, and more than a block lists by itself. */
template <typename KEY, typename VALUE> static void check_many(uint32_t n, const char *key, const char *value)
{
    lengths tokens = {n, {0}};
    for (uint32_t i = 0; i < n; i++) tokens.of[i] = i % 7 == 3 ? 0 : (i + 1) * 37 % 240;
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
    QUERIES(64, 4, 8, 64, int_tok<64 AND 2 AND 64 AND 32>, int_ch<64 AND 4 AND 64 AND 64>, "int2.tok32", "int4.ch64");
    QUERIES(64, 16, 16, 32, table<64 AND 4 AND 8 AND 32>, int_tok<64 AND 4 AND 32>, "vq4x8+klt", "int4.tok");
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
    CASE(96, 4, 8, 64, int_ch<96 AND 8 AND 64 AND 64>, int_tok<96 AND 8 AND 64>, "int8.ch64", "int8.tok", 1);
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

static void check_tables(void)
{
    CASE(128, 4, 8, 64, table<128 AND 4 AND 8 AND 64>, table<128 AND 4 AND 8 AND 64>, "vq4x8+klt", "vq4x8+klt", 1);
    CASE(128, 8, 8, 64, table<128 AND 8 AND 8 AND 64>, table<128 AND 8 AND 8 AND 64>, "vq8x8+klt", "vq8x8+klt", 1);
    CASE(64, 4, 8, 64, table<64 AND 4 AND 6 AND 64>, table<64 AND 8 AND 8 AND 64>, "vq4x6+klt", "vq8x8+klt", 1);
    CASE(128, 4, 8, 64, table<128 AND 2 AND 8 AND 64>, table<128 AND 2 AND 6 AND 64>, "vq2x8+klt", "vq2x6+klt", 1);
    CASE(128, 2, 8, 32, table<128 AND 2 AND 6 AND 32>, table<128 AND 2 AND 6 AND 32>, "vq2x6+klt", "vq2x6", 1);
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

static void check_windows(void)
{
    WINDOW(64, 4, 8, 16, half_rows<64 AND 16>, half_rows<64 AND 16>, "fp16", "fp16");
    WINDOW(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, int_tok<64 AND 4 AND 64>, "int4.ch64", "int4.tok");
    WINDOW(64, 4, 8, 64, int_tok<64 AND 2 AND 64 AND 32>, int_ch<64 AND 2 AND 64 AND 32>, "int2.tok32", "int2.ch32");
    WINDOW(64, 16, 16, 32, table<64 AND 4 AND 8 AND 32>, int_tok<64 AND 4 AND 32>, "vq4x8+klt", "int4.tok");
    WINDOW(64, 4, 8, 64, byte_table<64 AND 4 AND 64>, byte_table<64 AND 8 AND 64>, "vq4x8.bytes", "vq8x8.bytes");
}

static void check_softcap(void)
{
    CAPPED(64, 4, 8, 16, half_rows<64 AND 16>, half_rows<64 AND 16>, "fp16", "fp16");
    CAPPED(64, 4, 8, 64, byte_table<64 AND 8 AND 64>, byte_table<64 AND 4 AND 64>, "vq8x8.bytes", "vq4x8.bytes");
    CAPPED(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, int_ch<64 AND 4 AND 64 AND 64>, "int4.ch64", "int4.ch64");
    CAPPED(64, 4, 16, 64, table<64 AND 4 AND 8 AND 64>, int_tok<64 AND 4 AND 64>, "vq4x8+klt", "int4.tok");
}

static void check_kernels(void)
{
    check_scalars();
    check_groups_of_scales();
    check_tables();
    check_byte_tables();
    check_long();
    check_many<int_ch<64, 4, 64, 64>, int_tok<64, 4, 64>>(40, "int4.ch64", "int4.tok");
    check_many<int_ch<64, 4, 64, 64>, int_tok<64, 4, 64>>(70, "int4.ch64", "int4.tok");
    check_many<byte_table<64, 8, 64>, byte_table<64, 4, 64>>(70, "vq8x8.bytes", "vq4x8.bytes");
    check_many<table<64, 4, 8, 64>, int_tok<64, 4, 64>>(64, "vq4x8+klt", "int4.tok+had");
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
    return run_checks(check_kernels, check_numbers);
}
