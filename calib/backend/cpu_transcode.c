/* cpu_transcode.c - what a cache holds of rows: rounded to fp16, and whole pages through libkvc's own codec and back.
 * A task is one page of one head, taken as threads come free: what a page costs depends on the codec and, where heads
 * differ in bits, on the head. Rounded rows that nobody wants are rounded into `page` and coded in place: a task
 * reads and writes the same rows, and no other's. Rows that are NaN or infinite are refused, as kvc_cache_append()
 * does. */
#include "cpu_internal.h"

#include <stdlib.h>
#include <string.h>

#define ROUND_BLOCK 4096

static bool all_finite(const float *x, size_t n)
{
    uint32_t bad = 0, bits;
    for (size_t i = 0; i < n; i++) {
        memcpy(&bits, x + i, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

/* Returns how many blocks hold a value that is not finite. */
static size_t round_rows(size_t n, const float *x, float *exact)
{
    size_t bad = 0;
#pragma omp parallel for schedule(static) reduction(+ : bad)
    for (size_t i = 0; i < n; i += ROUND_BLOCK) {
        uint16_t half[ROUND_BLOCK];
        size_t count = cpu_min(ROUND_BLOCK, n - i);
        bad += !all_finite(x + i, count);
        kvc_rows_to_fp16(x + i, count, half);
        kvc_rows_to_float(half, KVC_F16, count, exact + i);
    }
    return bad;
}

/* rows [T][n_kv_heads][d] rounded, may be `page`. Returns how many threads found no memory. */
static size_t code_pages(const kvc_coder *c, size_t sinks, size_t n_pages, const float *rows, float *page)
{
    size_t stride = (size_t)c->n_kv_heads * c->head_dim, failed = 0;
    size_t block_bytes = (c->block_bytes + 63u) & ~(size_t)63;
#pragma omp parallel reduction(+ : failed)
    {
        char *own = aligned_alloc(64, (block_bytes + kvc_coder_work(c) * sizeof(float) + 63) & ~(size_t)63);
        failed += own == NULL;
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < n_pages * c->n_kv_heads; i++) {
            uint32_t head = (uint32_t)(i % c->n_kv_heads);
            size_t at = (sinks + i / c->n_kv_heads * c->page) * stride + (size_t)head * c->head_dim;
            if (!own) continue;
            kvc_coder_encode(c, head, rows + at, stride, own, (float *)(own + block_bytes));
            kvc_coder_decode(c, head, own, page + at, stride, (float *)(own + block_bytes));
        }
        free(own);
    }
    return failed;
}

kvc_status cpu_transcode(backend *b, const kvc_coder *coder, const kvc_token_policy *policy, size_t n_tokens,
                         const float *x, float *exact, float *page, kvc_error *err)
{
    (void)b;
    size_t width = (size_t)coder->n_kv_heads * coder->head_dim, sinks = cpu_min(policy->sinks, n_tokens);
    size_t n_pages = (n_tokens - sinks) / policy->page, end = sinks + n_pages * policy->page;
    float *rows = exact ? exact : page;
    if (round_rows(n_tokens * width, x, rows))
        return kvc_fail(err, KVC_NONFINITE, "the model computes keys or values that are NaN or infinite");
    if (exact) {
        memcpy(page, exact, sinks * width * sizeof *page);
        memcpy(page + end * width, exact + end * width, (n_tokens - end) * width * sizeof *page);
    }
    if (code_pages(coder, sinks, n_pages, rows, page))
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a page of %u bytes", coder->block_bytes);
    return KVC_OK;
}
