/* gguf_dequant.c - block formats of ggml, written from the published layouts. A block of n values holds fp16
 * scales and packed codes; all arithmetic is fp32 in the order that ggml defines, so results are bit-equal to
 * its reference. A new format is one function and one line of `types`. */
#include <string.h>
#include "gguf_private.h"
#include "kvc/codec.h"

static float half_at(const uint8_t *p)
{
    return kvc_fp16_to_float((uint16_t)(p[0] | p[1] << 8));
}

static void f32_block(const uint8_t *b, float *y)
{
    memcpy(y, b, 4);
}
static void f16_block(const uint8_t *b, float *y)
{
    *y = half_at(b);
}

static void bf16_block(const uint8_t *b, float *y)
{
    uint32_t bits = (uint32_t)(b[0] | b[1] << 8) << 16;
    memcpy(y, &bits, 4);
}

/* The four 32-value formats keep value j in the low and value j + 16 in the high half of byte j.
 * Q4_0: d, codes[16]                 y = (code - 8) d */
static void q4_0_block(const uint8_t *b, float *y)
{
    float d = half_at(b);
    for (int j = 0; j < 16; j++) {
        y[j] = (float)((b[2 + j] & 15) - 8) * d;
        y[j + 16] = (float)((b[2 + j] >> 4) - 8) * d;
    }
}

/* Q4_1: d, m, codes[16]              y = code d + m */
static void q4_1_block(const uint8_t *b, float *y)
{
    float d = half_at(b), m = half_at(b + 2);
    for (int j = 0; j < 16; j++) {
        y[j] = (float)(b[4 + j] & 15) * d + m;
        y[j + 16] = (float)(b[4 + j] >> 4) * d + m;
    }
}

/* The 5-bit code of value j: four bits in `codes`, the fifth is bit j of `high`. */
static int five_bits(const uint8_t *codes, uint32_t high, int j)
{
    int low = j < 16 ? codes[j] & 15 : codes[j - 16] >> 4;
    return low | (int)(high >> j & 1) << 4;
}

/* Q5_0: d, high[4], codes[16]        y = (code - 16) d */
static void q5_0_block(const uint8_t *b, float *y)
{
    float d = half_at(b);
    uint32_t high = gguf_u32(b + 2);
    for (int j = 0; j < 32; j++) y[j] = (float)(five_bits(b + 6, high, j) - 16) * d;
}

/* Q5_1: d, m, high[4], codes[16]     y = code d + m */
static void q5_1_block(const uint8_t *b, float *y)
{
    float d = half_at(b), m = half_at(b + 2);
    uint32_t high = gguf_u32(b + 4);
    for (int j = 0; j < 32; j++) y[j] = (float)five_bits(b + 8, high, j) * d + m;
}

/* Q8_0: d, int8 codes[32]            y = code d */
static void q8_0_block(const uint8_t *b, float *y)
{
    float d = half_at(b);
    for (int j = 0; j < 32; j++) y[j] = (float)(int8_t)b[2 + j] * d;
}

/* The K formats have 256 values. Q4_K and Q5_K: eight groups of 32 with a 6-bit scale and minimum each, in 12
 * bytes: groups 0-3 in the low six bits of bytes 0-3 (scale) and 4-7 (minimum); groups 4-7 have four bits in
 * bytes 8-11 and their upper two in the top of the bytes before. */
static void group_scale(const uint8_t *s, int group, int *scale, int *minimum)
{
    if (group < 4) {
        *scale = s[group] & 63;
        *minimum = s[group + 4] & 63;
    } else {
        *scale = (s[group + 4] & 15) | s[group - 4] >> 6 << 4;
        *minimum = s[group + 4] >> 4 | s[group] >> 6 << 4;
    }
}

/* y = (d scale) code - (dmin minimum); bit g of high[j] (NULL: none) is the fifth bit in group g. Groups 2i
 * and 2i + 1 are the low and high halves of codes[32 i ...]. */
static void k_groups(const uint8_t *b, const uint8_t *high, const uint8_t *codes, float *y)
{
    float d = half_at(b), dmin = half_at(b + 2);
    for (int g = 0; g < 8; g++) {
        int scale, minimum;
        group_scale(b + 4, g, &scale, &minimum);
        float step = d * (float)scale, offset = dmin * (float)minimum;
        for (int j = 0; j < 32; j++) {
            int code = codes[g / 2 * 32 + j] >> 4 * (g & 1) & 15;
            if (high) code |= (high[j] >> g & 1) << 4;
            y[g * 32 + j] = step * (float)code - offset;
        }
    }
}

/* Q4_K: d, dmin, scales[12], codes[128] */
static void q4_k_block(const uint8_t *b, float *y)
{
    k_groups(b, NULL, b + 16, y);
}
/* Q5_K: d, dmin, scales[12], high[32], codes[128] */
static void q5_k_block(const uint8_t *b, float *y)
{
    k_groups(b, b + 16, b + 48, y);
}

/* Q6_K: low[128], high[64], int8 scales[16], d; two halves of 128 values, each of four runs of 32 that share
 * bytes: run r takes the low or high four bits of low[32 (r & 1) + j] and bits 2r of high[j].  y = d scale
 * (code - 32) */
static void q6_k_block(const uint8_t *b, float *y)
{
    float d = half_at(b + 208);
    for (int half = 0; half < 2; half++) {
        const uint8_t *low = b + 64 * half, *high = b + 128 + 32 * half, *scales = b + 192 + 8 * half;
        for (int i = 0; i < 128; i++) {
            int run = i / 32, j = i % 32;
            int code = (low[32 * (run & 1) + j] >> (run < 2 ? 0 : 4) & 15) | (high[j] >> 2 * run & 3) << 4;
            y[128 * half + i] = d * (float)(int8_t)scales[i / 16] * (float)(code - 32);
        }
    }
}

static const gguf_type types[] = {
    {0, "F32", 1, 4, f32_block},        {1, "F16", 1, 2, f16_block},        {2, "Q4_0", 32, 18, q4_0_block},
    {3, "Q4_1", 32, 20, q4_1_block},    {6, "Q5_0", 32, 22, q5_0_block},    {7, "Q5_1", 32, 24, q5_1_block},
    {8, "Q8_0", 32, 34, q8_0_block},    {12, "Q4_K", 256, 144, q4_k_block}, {13, "Q5_K", 256, 176, q5_k_block},
    {14, "Q6_K", 256, 210, q6_k_block}, {30, "BF16", 1, 2, bf16_block},
};

const gguf_type *gguf_type_find(uint32_t id)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].id == id) return &types[i];
    return NULL;
}

const char *gguf_type_name(uint32_t id)
{
    static const char *const names[] = {"F32",     "F16",    "Q4_0",    "Q4_1",  "Q4_2",   "Q4_3",  "Q5_0",  "Q5_1",
                                        "Q8_0",    "Q8_1",   "Q2_K",    "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K",  "Q8_K",
                                        "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS",
                                        "I8",      "I16",    "I32",     "I64",   "F64",    "IQ1_M", "BF16"};
    return id < sizeof names / sizeof *names ? names[id] : "unknown";
}

void gguf_dequantise(const gguf_type *type, const uint8_t *src, size_t n, float *dst)
{
    for (size_t i = 0; i < n; i += type->values, src += type->bytes) type->dequantise(src, dst + i);
}
