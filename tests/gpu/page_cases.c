/* page_cases.c - the table, and the rows: random with outliers, runs of equal values, zeros of both signs, values
 * beyond fp16 and values in the middle between two codes. Constants are random but valid (params_rig.h). */
#include "page_cases.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "page.h"
#include "params_rig.h"

typedef struct page_case {
    const char *spec;
    uint32_t d, heads, page;
} page_case;

static const page_case cases[] = {
    {"fp16", 64, 3, 16},
    {"fp16+had", 80, 2, 64},
    {"fp16+klt", 96, 2, 24},
    {"fp16+rot@joint", 128, 5, 16},
    {"int8.ch", 64, 2, 64},
    {"int6.ch64", 80, 2, 64},
    {"int4.ch64", 128, 2, 64},
    {"int4.ch32", 96, 2, 64},
    {"int3.ch32", 256, 1, 64},
    {"int2.ch16", 128, 2, 64},
    {"int1.ch64", 80, 2, 64},
    {"int4.ch64+had", 256, 1, 64},
    {"int2.ch256", 128, 1, 256},      /* a group of two tiles */
    {"int3.ch64@joint", 128, 4, 128}, /* and with rows of all heads */
    {"int8.tok", 64, 2, 16},
    {"int6.tok16", 80, 2, 64},
    {"int4.tok", 96, 2, 16},
    {"int3.tok8", 128, 2, 16},
    {"int2.tok40", 80, 2, 24},
    {"int1.tok", 256, 2, 16},
    {"int4.tok+had", 128, 2, 64},
    {"int4.tok+smooth+had", 80, 2, 16},
    {"int2.tok32+perm", 96, 2, 16},
    {"int2.ch64+rot", 128, 2, 64},
    {"int4.tok+klt", 64, 2, 64},
    {"int3.tok+had@joint", 80, 4, 16},
    {"int2.tok64@joint", 256, 8, 8}, /* the longest row */
    {"int4.tok+klt+smooth+perm+had", 80, 2, 40},
    {"int4.tok+had+klt+rot+smooth", 96, 2, 16},
    {"int4.tok+perm+had+had+rot", 64, 2, 128},
    {"lut3", 64, 2, 16},
    {"lut4.head", 80, 2, 24},
    {"lut3.static", 128, 2, 64},
    {"lut8.static+klt", 64, 2, 16},
    {"lut1.static@joint", 96, 4, 16},
    {"lut2+perm", 256, 1, 16},
    {"seg[8,4,2,1,0,0,0,0].ch", 64, 2, 64},
    {"seg[8,4,2,1,1,0,0,0].ch64+klt", 128, 1, 64},
    {"seg[5,3,3,0,7,6,0,2].ch32", 256, 1, 64},
    {"seg[1,0,0,0,0,0,0,0].ch8", 72, 2, 8}, /* an odd number of bytes before the scales */
    {"seg[3,0,3,0,1,0,0,0].ch128", 256, 1, 128},
    {"seg[8,4,2,1,0,0,0,0].static+klt", 64, 2, 16},
    {"seg[6,0,7,1,0,2,0,3].static", 96, 2, 24},
    {"seg[2,1,1,0,0,0,0,0].static+klt@joint", 64, 5, 16},
    {"vq8x8", 128, 2, 16},
    {"vq8x8+klt", 64, 2, 16},
    {"vq4x8.static", 64, 1, 16},
    {"vq16x6.static+had", 80, 1, 16},
    {"vq2x8.head+klt", 96, 2, 16},
    {"vq1x5", 64, 2, 16},
    {"vq1x1.static", 80, 2, 16},
    {"vq2x12", 64, 1, 16},       /* a table in parts, more vectors than threads */
    {"vq16x11", 64, 1, 8},       /* long entries */
    {"vq16x9.static", 64, 1, 8}, /* and tables */
    {"vq4x10.head", 128, 1, 8},
    {"vq8x7+smooth", 256, 1, 16},
    {"vq[4*8,2*16]x8", 128, 2, 16},
    {"vq[4*8,1*16]x5+klt", 64, 2, 16},
    {"vq[4*1,10*2,10*4]x3.static", 64, 2, 16},
    {"vq[8*1,4*2,2*4,1*8,1*16]x4.head", 128, 2, 16},
    {"vq[8*2,8*4]x6+klt@joint", 64, 4, 16},
    {"vq[2*16]x8+klt@joint", 128, 8, 8},
    {"vq[8]x8+klt", 128, 3, 16},
    {"vq[12]x4", 80, 3, 16},
    {"vq[3]x6+klt", 64, 5, 16},
    {"vq[2]x3+rot", 96, 4, 24}, /* fewer codes than whole channels */
    {"vq[30]x3+had", 64, 4, 16},
    {"vq[64]x2", 256, 2, 16},
    {"vq[1]x9", 64, 5, 8},
    {"vq[10]x4+perm@joint", 64, 3, 16},
    {"vq[8]x8", 128, 3, 64},       /* tiles of several runs */
    {"vq[6]x5", 192, 2, 96},       /* of 40 rows, runs of 32 */
    {"vq[9]x7", 192, 1, 48},       /* runs of 16 */
    {"vq[4]x6@joint", 256, 3, 32}, /* half a run */
};

static uint32_t next(uint32_t *state)
{
    return *state = *state * 1664525u + 1013904223u;
}

/* In units of half a step of 8 bits from 0 to all 510: of 4 bits 17 are half a step, of 2 bits 85. */
static float half_steps(size_t i, uint32_t r)
{
    uint32_t n = i % 8 == 0 ? 0 : i % 8 == 1 ? 510 : i % 2 ? 17 * (r % 31) : r % 511;
    return (float)n * 11.0f / 2048.0f;
}

static void fill_rows(float *x, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t r = next(&seed) >> 8;
        float u = (float)(r & 0xffff) / 32768.0f - 1.0f;
        if (i / 512 % 7 == 3 || i % 64 == 21) r &= 0xffff; /* rows and channels of nothing but zeros */
        switch (r >> 16 & 31) {
        case 0: x[i] = u < 0.0f ? -0.0f : 0.0f; break;
        case 2: x[i] = 300.0f * u; break;
        case 3: x[i] = u * 1e-7f; break;
        case 4: x[i] = i % 16 == 7 ? 1e30f * u : u; break;
        default: x[i] = i / 64 % 9 == 0 ? 0.25f : u;
        }
        if (i / 512 % 7 == 5) x[i] = half_steps(i, r);
    }
}

static void host_transcode(const kvc_coder *c, size_t n_pages, const float *rows, uint8_t *blocks, float *back)
{
    size_t stride = (size_t)c->n_kv_heads * c->head_dim;
    float *work = malloc(kvc_coder_work(c) * sizeof(float));
    uint8_t *block = aligned_alloc(64, (c->block_bytes + 63) / 64 * 64);
    for (size_t page = 0; page < n_pages; page++)
        for (uint32_t head = 0; head < c->n_kv_heads; head++) {
            kvc_block place = kvc_coder_block(c, head);
            size_t at = page * c->page * stride + head * c->head_dim;
            kvc_coder_encode(c, head, rows + at, stride, block, work);
            memcpy(blocks + page * c->page_bytes + place.offset, block, place.bytes);
            kvc_coder_decode(c, head, block, back + at, stride, work);
        }
    free(work);
    free(block);
}

static int compare(const page_case *t, const char *what, const void *host, const void *other, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((const uint8_t *)host)[i] != ((const uint8_t *)other)[i]) {
            fprintf(stderr, "%s d=%u heads=%u page=%u: %s differ first at byte %zu of %zu\n", t->spec, t->d, t->heads,
                    t->page, what, i, n);
            return 1;
        }
    return 0;
}

static int accepted(const page_case *t, const char *what, cudaError_t status)
{
    if (status == cudaSuccess) return 1;
    fprintf(stderr, "%s d=%u: %s: CUDA error %d\n", t->spec, t->d, what, (int)status);
    return 0;
}

/* rows, and then what is to become of them. */
typedef struct page_data {
    size_t row_bytes, block_bytes;
    float *rows, *back;
    uint8_t *blocks;
} page_data;

static page_data data_make(const kvc_coder *c, size_t n_pages)
{
    page_data data = {.row_bytes = n_pages * c->page * c->n_kv_heads * c->head_dim * sizeof(float),
                      .block_bytes = n_pages * c->page_bytes};
    data.rows = malloc(data.row_bytes), data.back = malloc(data.row_bytes), data.blocks = malloc(data.block_bytes);
    fill_rows(data.rows, data.row_bytes / sizeof(float), c->head_dim + c->page);
    host_transcode(c, n_pages, data.rows, data.blocks, data.back);
    return data;
}

static int check(const page_memory *m, const page_case *t, const kvc_coder *c, const void *params, size_t n_pages,
                 const page_data *data)
{
    float *rows = m->make(data->row_bytes), *got = malloc(data->row_bytes);
    uint8_t *blocks = m->make(data->block_bytes), *got_blocks = malloc(data->block_bytes);
    m->put(rows, data->rows, data->row_bytes);
    m->fill(blocks, 0xa5, data->block_bytes);
    int same = accepted(t, "encode", kernel_encode_pages(c, params, rows, n_pages, blocks, NULL));
    m->get(got_blocks, blocks, data->block_bytes);
    m->fill(rows, 0xff, data->row_bytes);
    same = same && accepted(t, "decode", kernel_decode_pages(c, params, blocks, n_pages, rows, NULL));
    m->get(got, rows, data->row_bytes);
    same = same && !compare(t, "blocks", data->blocks, got_blocks, data->block_bytes) &&
           !compare(t, "rows", data->back, got, data->row_bytes);
    m->drop(rows), m->drop(blocks);
    free(got), free(got_blocks);
    return same;
}

/* In place, by two pages at a time. */
static int check_transcode(const page_memory *m, const page_case *t, const kvc_coder *c, const void *params,
                           size_t n_pages, const page_data *data)
{
    float *rows = m->make(data->row_bytes), *got = malloc(data->row_bytes);
    size_t work_bytes = 2 * c->page_bytes;
    void *work = m->make(work_bytes);
    m->put(rows, data->rows, data->row_bytes);
    int same =
        accepted(t, "transcode", kernel_transcode_pages(c, params, rows, n_pages, rows, work, work_bytes, NULL));
    m->get(got, rows, data->row_bytes);
    same = same && !compare(t, "transcoded rows", data->back, got, data->row_bytes);
    m->drop(rows), m->drop(work);
    free(got);
    return same;
}

/* A codec without its constants is refused. */
static int check_refusal(const page_case *t, const kvc_coder *c)
{
    if (kernel_encode_pages(c, NULL, NULL, 1, NULL, NULL) == cudaErrorInvalidValue &&
        kernel_decode_pages(c, NULL, NULL, 1, NULL, NULL) == cudaErrorInvalidValue)
        return 1;
    fprintf(stderr, "%s: not refused without constants\n", t->spec);
    return 0;
}

static int run_case(const page_memory *m, const page_case *t, size_t n_pages)
{
    kvc_codec codec;
    kvc_coder c;
    kvc_error err = {""};
    size_t n_params;
    void *params = NULL, *dev_params = NULL;
    if (kvc_codec_parse(&codec, t->spec, &err) == KVC_OK) {
        params = codec_params(&codec, t->heads, t->d, t->page, t->d + t->page, &n_params);
        if (kvc_coder_init(&c, &codec, params, t->heads, t->d, t->page, &err)) params = NULL;
    }
    if (err.message[0]) {
        fprintf(stderr, "%s d=%u: %s\n", t->spec, t->d, err.message);
        return 0;
    }
    if (params) {
        dev_params = m->make(n_params);
        m->put(dev_params, params, n_params);
    }
    page_data data = data_make(&c, n_pages);
    int same = (!params || check_refusal(t, &c)) && check(m, t, &c, dev_params, n_pages, &data) &&
               (n_pages < 3 || check_transcode(m, t, &c, dev_params, n_pages, &data));
    if (dev_params) m->drop(dev_params);
    free(params), free(data.rows), free(data.back), free(data.blocks);
    return same;
}

int page_cases_run(const page_memory *m, size_t n_pages, size_t begin, size_t step)
{
    int failed = 0, n = 0;
    for (size_t i = begin; i < sizeof cases / sizeof *cases; i += step, n++)
        failed += !run_case(m, &cases[i], n_pages);
    printf("%d codecs and shapes, %d differences\n", n, failed);
    return failed;
}

static int fits(const page_case *t)
{
    kvc_codec codec;
    kvc_coder c;
    return kvc_codec_parse(&codec, t->spec, NULL) == KVC_OK &&
           kvc_coder_init(&c, &codec, NULL, t->heads, t->d, t->page, NULL) == KVC_OK;
}

int page_cases_run_all(const page_memory *m, size_t n_pages)
{
    static const uint32_t dims[] = {64, 80, 96, 128, 256};
    int failed = 0, n = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t k = 0; k < sizeof dims / sizeof *dims; k++) {
            page_case t = cases[i];
            t.d = dims[k];
            if (!fits(&t)) continue;
            failed += !run_case(m, &t, n_pages);
            n++;
        }
    printf("%d codecs and shapes, %d differences\n", n, failed);
    return failed;
}
