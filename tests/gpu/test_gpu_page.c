/* test_gpu_page.c - pages encoded on the GPU have the bytes that libkvc writes, and decode to the same floats.
 * A table of codecs and shapes; rows are random with outliers, constants, zeros of both signs and values beyond fp16.
 */
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "page.h"

#define N_PAGES 37

static const char *specs[] = {"fp16",      "int8.ch",   "int6.ch64",    "int4.ch64",     "int4.ch32", "int3.ch32",
                              "int2.ch16", "int1.ch64", "int8.tok",     "int6.tok16",    "int4.tok",  "int3.tok8",
                              "int2.tok",  "int1.tok",  "int4.tok+had", "int2.ch64+had", "fp16+had",  "int3.tok+had"};
/* Codecs without a kernel: refused, not decoded as something else. */
static const char *lacking[] = {
    "vq8x8",          "lut3",       "seg[8,4,2,1,0,0,0,0].ch", "vq[4*8,2*16]x8", "int4.tok+klt", "fp16+klt",
    "int4.tok@joint", "fp16@joint", "int4.tok+had+had",        "vq8x8+klt@joint"};
static const uint32_t dims[] = {64, 80, 96, 128, 256};

static void cuda_check(cudaError_t status, const char *what)
{
    if (status == cudaSuccess) return;
    fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(status));
    exit(1);
}

static uint32_t next(uint32_t *state)
{
    return *state = *state * 1664525u + 1013904223u;
}

static void fill(float *x, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t r = next(&seed) >> 8;
        float u = (float)(r & 0xffff) / 32768.0f - 1.0f;
        switch (r >> 16 & 31) {
        case 0: x[i] = 0.0f; break;
        case 1: x[i] = -0.0f; break;
        case 2: x[i] = 300.0f * u; break;
        case 3: x[i] = u * 1e-7f; break;
        case 4: x[i] = i % 4096 == 7 ? 1e30f * u : u; break;
        default: x[i] = i / 64 % 9 == 0 ? 0.25f : u;
        }
    }
}

static void host_encode(const kvc_coder *c, const float *rows, uint8_t *blocks, float *back, float *work)
{
    size_t stride = (size_t)c->n_kv_heads * c->head_dim;
    for (size_t page = 0; page < N_PAGES; page++)
        for (uint32_t head = 0; head < c->n_kv_heads; head++) {
            size_t at = page * c->page * stride + head * c->head_dim;
            uint8_t *block = blocks + (page * c->n_kv_heads + head) * c->block_bytes;
            kvc_coder_encode(c, head, rows + at, stride, block, work);
            kvc_coder_decode(c, head, block, back + at, stride, work);
        }
}

static int compare(const char *spec, uint32_t d, const char *what, const void *host, const void *device, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((const uint8_t *)host)[i] != ((const uint8_t *)device)[i]) {
            fprintf(stderr, "%s d=%u: %s differ first at byte %zu of %zu\n", spec, d, what, i, n);
            return 1;
        }
    return 0;
}

static int run_case(const char *spec, uint32_t d)
{
    kvc_codec codec;
    kvc_coder c;
    kvc_error err;
    if (kvc_codec_parse(&codec, spec, &err) || kvc_coder_init(&c, &codec, NULL, 3, d, 64, &err)) {
        fprintf(stderr, "%s d=%u: %s\n", spec, d, err.message);
        return 1;
    }
    size_t n_rows = (size_t)N_PAGES * c.page * c.n_kv_heads * d * sizeof(float);
    size_t n_blocks = (size_t)N_PAGES * c.n_kv_heads * c.block_bytes;
    float *rows = malloc(n_rows), *back = malloc(n_rows), *from_gpu = malloc(n_rows);
    float *work = malloc(kvc_coder_work(&c) * sizeof(float));
    uint8_t *blocks = malloc(n_blocks), *gpu_blocks = malloc(n_blocks);
    void *dev_rows, *dev_blocks;
    fill(rows, n_rows / sizeof(float), d);
    host_encode(&c, rows, blocks, back, work);
    cuda_check(cudaMalloc(&dev_rows, n_rows), "cudaMalloc");
    cuda_check(cudaMalloc(&dev_blocks, n_blocks), "cudaMalloc");
    cuda_check(cudaMemset(dev_blocks, 0xa5, n_blocks), "poison");
    cuda_check(cudaMemcpy(dev_rows, rows, n_rows, cudaMemcpyHostToDevice), "copy");
    cuda_check(kernel_encode_pages(&c, dev_rows, N_PAGES, dev_blocks, 0), "encode");
    cuda_check(cudaMemset(dev_rows, 0xff, n_rows), "poison");
    cuda_check(kernel_decode_pages(&c, dev_blocks, N_PAGES, dev_rows, 0), "decode");
    cuda_check(cudaMemcpy(gpu_blocks, dev_blocks, n_blocks, cudaMemcpyDeviceToHost), "copy");
    cuda_check(cudaMemcpy(from_gpu, dev_rows, n_rows, cudaMemcpyDeviceToHost), "copy");
    int failed =
        compare(spec, d, "blocks", blocks, gpu_blocks, n_blocks) + compare(spec, d, "rows", back, from_gpu, n_rows);
    cudaFree(dev_rows);
    cudaFree(dev_blocks);
    free(rows), free(back), free(from_gpu), free(work), free(blocks), free(gpu_blocks);
    return failed;
}

static int run_refusal(const char *spec)
{
    kvc_codec codec;
    kvc_coder c;
    kvc_error err;
    if (kvc_codec_parse(&codec, spec, &err) || kvc_coder_init(&c, &codec, NULL, 3, 64, 64, &err)) {
        fprintf(stderr, "%s: %s\n", spec, err.message);
        return 1;
    }
    if (kernel_encode_pages(&c, NULL, 1, NULL, 0) == cudaErrorNotSupported &&
        kernel_decode_pages(&c, NULL, 1, NULL, 0) == cudaErrorNotSupported)
        return 0;
    fprintf(stderr, "%s: not refused\n", spec);
    return 1;
}

int main(void)
{
    int devices = 0, failed = 0, cases = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        printf("skipped: no CUDA device\n");
        return 77;
    }
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        for (size_t j = 0; j < sizeof dims / sizeof *dims; j++, cases++) failed += run_case(specs[i], dims[j]);
    for (size_t i = 0; i < sizeof lacking / sizeof *lacking; i++, cases++) failed += run_refusal(lacking[i]);
    printf("%d codecs and shapes, %d differences\n", cases, failed);
    return failed ? 1 : 0;
}
