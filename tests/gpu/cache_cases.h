/* cache_cases.h - configurations that libkvc_cuda is tested and timed with; make_kernels.c writes their files. */
#ifndef TESTS_GPU_CACHE_CASES_H
#define TESTS_GPU_CACHE_CASES_H
#include <string.h>
#include "case_config.h"

typedef struct cache_case {
    const char *name; /* of a folder with cfg.bin and kernels/ */
    case_config config;
    uint32_t sliding_window; /* of attention */
    float softcap;
} cache_case;

static const cache_case cache_cases[] = {
    /* test: every kind of codec that has kernels; the same kind on both sides, and two kinds; few columns and many */
    {"mixed",
     {2, 4, 64, {4, 96, 64}, 3, 3, {{"int4.ch64", "int4.tok"}, {"vq4x8+klt", "vq4x8+klt"}, {"int8.tok+had", "fp16"}}},
     0,
     0.0f},
    /* test: no sinks, no window, short pages, odd numbers of heads, many columns; a sliding window, capped scores */
    {"short",
     {3,
      5,
      64,
      {0, 0, 16},
      3,
      3,
      {{"int2.ch16", "int2.tok"}, {"vq[8]x8+klt", "vq[8]x8+klt"}, {"int4.tok32", "int3.ch16"}}},
     50,
     8.0f},
    /* test: byte tables on both sides, on one beside integers, and where products of bytes have no use for them */
    {"bytes",
     {2,
      4,
      64,
      {4, 32, 64},
      3,
      3,
      {{"vq4x8.bytes+klt", "vq8x8.bytes"}, {"vq8x8.bytes", "int4.tok"}, {"fp16", "vq4x8.bytes"}}},
     0,
     0.0f},
    /* test: the same of shared codes, and such without byte tables beside them */
    {"shared",
     {2,
      4,
      64,
      {4, 32, 96},
      4,
      4,
      {{"vq[8]x8.bytes+klt", "vq[16]x8.bytes+klt"},
       {"vq[20]x8.bytes", "int4.tok"},
       {"vq[5]x8", "vq[12]x8.bytes"},
       {"int6.ch32", "vq[9]x8.bytes"}}},
     0,
     0.0f},
    /* test: codes that are decoded one by one, with tables of heads and of codes, mixes, segments; pages in parts */
    {"single",
     {2,
      4,
      64,
      {4, 32, 64},
      3,
      3,
      {{"lut3.head+klt", "vq[3*1,5*2,2*16]x7.static"},
       {"seg[8,4,4,2,2,0,0,0].ch32+klt", "seg[4,3,2,1,0,0,0,0].static"},
       {"int4.tok8", "vq4x11.head"}}},
     0,
     0.0f},
    /* bench: 8 layers of one kind */
    {"bench_int4", {8, 4, 128, {4, 64, 64}, 8, 1, {{"int4.ch64", "int4.tok"}}}, 0, 0.0f},
    {"bench_int2", {8, 4, 128, {4, 64, 64}, 8, 1, {{"int2.ch64", "int2.tok"}}}, 0, 0.0f},
    {"bench_vq4x8", {8, 4, 128, {4, 64, 64}, 8, 1, {{"vq4x8+klt", "vq4x8+klt"}}}, 0, 0.0f},
};

static inline const cache_case *cache_case_find(const char *name)
{
    for (size_t i = 0; i < sizeof cache_cases / sizeof *cache_cases; i++)
        if (strcmp(cache_cases[i].name, name) == 0) return &cache_cases[i];
    return NULL;
}

#endif
