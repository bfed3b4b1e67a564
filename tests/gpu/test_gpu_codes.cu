/* test_gpu_codes.cu - attention over codes that heads share out, and codes that are decoded one by one
 * (attend_check.h). */
#include "attend_check.h"

#ifdef __SANITIZE_ADDRESS__
/* One of each kind, as in test_gpu_attend.cu. */
static void check_kernels(void)
{
    CASE(64, 4, 8, 64, shared<64 AND 64 AND 64>, shared<64 AND 64 AND 64>, "vq[8]x8+klt", "vq[8]x8+klt", 1);
    CASE(64, 4, 8, 64, byte_shared<64 AND 64 AND 64>, int_tok<64 AND 4 AND 64>, "vq[8]x8.bytes+klt", "int4.tok", 1);
    CASE(64, 4, 8, 64, mixed<48 AND 64 AND 0x0200000503u AND 7 AND SINGLE_HEAD AND 64>,
         segments<64 AND 0x02000400u AND 16 AND 64>, "vq[3*1,5*2,2*16]x7.head", "seg[0,4,0,2,0,0,0,0].ch16", 1);
}
static void check_numbers(void) {}
#else
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

/* Beside integers and other byte tables: all in products of bytes but for scales of fewer tokens than a run has. */
static void check_byte_shared_beside(void)
{
    CASE(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 64>, byte_shared<64 AND 64 AND 64>, "int4.ch64", "vq[20]x8.bytes",
         1);
    CASE(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 16>, byte_shared<64 AND 64 AND 64>, "int4.ch16", "vq[20]x8.bytes",
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
    CASE(64, 4, 8, 64, int_ch<64 AND 4 AND 64 AND 32>, byte_shared<64 AND 64 AND 64>, "int4.ch32", "vq[20]x8.bytes",
         1);
    CASE(128, 4, 8, 32, int_ch<128 AND 6 AND 32 AND 64>, byte_shared<128 AND 32 AND 64>, "int6.ch64+had",
         "vq[14]x8.bytes", 1);
    CASE(64, 4, 8, 64, byte_shared<64 AND 64 AND 64>, int_tok<64 AND 6 AND 64>, "vq[20]x8.bytes", "int6.tok+had", 1);
    CASE(96, 2, 8, 64, byte_shared<96 AND 64 AND 64>, int_ch<96 AND 6 AND 64 AND 64>, "vq[8]x8.bytes", "int6.ch64",
         1);
    CASE(128, 1, 8, 64, byte_shared<128 AND 64 AND 64>, byte_table<128 AND 8 AND 64>, "vq[12]x8.bytes", "vq8x8.bytes",
         4);
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

static void check_batches(void)
{
    QUERIES(64, 4, 8, 64, shared<64 AND 64 AND 64>, shared<64 AND 64 AND 64>, "vq[8]x8+klt", "vq[8]x8+klt");
    QUERIES(64, 4, 8, 64, byte_shared<64 AND 64 AND 64>, byte_shared<64 AND 64 AND 64>, "vq[8]x8.bytes+klt",
            "vq[8]x8.bytes+klt");
    QUERIES(64, 4, 8, 64, single<64 AND 4 AND 8 AND SINGLE_CODE AND 64>, byte_shared<64 AND 64 AND 64>,
            "vq4x8.static", "vq[8]x8.bytes");
}

static void check_windows(void)
{
    WINDOW(64, 3, 8, 64, shared<64 AND 64 AND 64>, shared<64 AND 64 AND 64>, "vq[2]x8+klt", "vq[8]x8+klt");
    WINDOW(64, 4, 8, 64, byte_shared<64 AND 64 AND 64>, int_tok<64 AND 8 AND 64>, "vq[7]x8.bytes", "int8.tok");
    WINDOW(64, 3, 8, 64, byte_shared<64 AND 64 AND 64>, byte_shared<64 AND 64 AND 64>, "vq[2]x8.bytes+klt",
           "vq[20]x8.bytes+klt");
}

static void check_softcap(void)
{
    CAPPED(64, 4, 8, 64, byte_shared<64 AND 64 AND 64>, byte_shared<64 AND 64 AND 64>, "vq[12]x8.bytes",
           "vq[7]x8.bytes");
}

static void check_kernels(void)
{
    check_shared();
    check_byte_shared();
    check_byte_shared_beside();
    check_singles();
    check_mixes();
    check_segments();
    check_batches();
    check_softcap();
}

#ifdef KVC_EMULATE
/* Four bits from 0 to fp16's end: the scale, 65504 / 15 rounded up, reaches beyond it. */
static void check_ends(void)
{
    const uint16_t scale = 0x6c44, minimum = 0, end = 0x7bff;
    uint32_t got = single_scaled((const uint8_t *)&scale, (const uint8_t *)&minimum, 0, 15);
    if (got == end) return;
    failures++;
    fprintf(stderr, "the end of fp16 is decoded to %x\n", got);
}
#else
static void check_ends(void) {}
#endif

static void check_numbers(void)
{
    check_windows();
    check_ends();
}
#endif

int main(void)
{
    int status = run_checks(check_kernels, check_numbers);
    if (status == 0 && with_costs == 0) puts("no case had heads with costs");
    return status == 0 && with_costs == 0 ? 1 : status;
}
