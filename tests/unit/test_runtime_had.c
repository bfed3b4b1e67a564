/* Transform had: its matrix, its inverse, and queries and outputs folded through it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "check_main.h"
#include "kvc/codec.h"

static const uint32_t dims[] = {8, 24, 64, 80, 96, 128, 256, 512};
#define N_DIMS (sizeof dims / sizeof *dims)

static kvc_coder coder_of(const char *spec, uint32_t d)
{
    kvc_codec codec;
    kvc_coder coder;
    ck_assert_int_eq(kvc_codec_parse(&codec, spec, NULL), KVC_OK);
    ck_assert_int_eq(kvc_coder_init(&coder, &codec, NULL, 1, d, 8, NULL), KVC_OK);
    return coder;
}

static void fill(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(seed >> 40) * 0x1p-23f - 1.0f;
    }
}

/* Entry (i, j) of the block-diagonal Walsh-Hadamard matrix. */
static double entry(uint32_t d, uint32_t i, uint32_t j)
{
    uint32_t n = d & -d;
    if (i / n != j / n) return 0.0;
    return (__builtin_popcount(i % n & j % n) % 2 ? -1.0 : 1.0) / sqrt((double)n);
}

START_TEST(had__is_the_walsh_hadamard_matrix)
{
    for (size_t k = 0; k < N_DIMS; k++) {
        uint32_t d = dims[k];
        kvc_coder coder = coder_of("fp16+had", d);
        float q[512], folded[512];
        fill(q, d, k + 1);
        ck_assert(kvc_coder_fold_query(&coder, 0, q, folded) == 0.0f);
        for (uint32_t i = 0; i < d; i++) {
            double want = 0.0;
            for (uint32_t j = 0; j < d; j++) want += entry(d, i, j) * q[j];
            ck_assert_double_eq_tol(folded[i], want, 1e-5);
        }
    }
}
END_TEST

START_TEST(had__decodes_to_the_rows_it_encoded)
{
    for (size_t k = 0; k < N_DIMS; k++) {
        uint32_t d = dims[k];
        kvc_coder coder = coder_of("fp16+had", d);
        float *rows = malloc(8 * d * 4), *back = malloc(8 * d * 4), *work = malloc(kvc_coder_work(&coder) * 4);
        void *block = aligned_alloc(16, coder.block_bytes);
        fill(rows, 8 * d, k + 5);
        kvc_coder_encode(&coder, 0, rows, d, block, work);
        kvc_coder_decode(&coder, 0, block, back, d, work);
        for (uint32_t i = 0; i < 8 * d; i++) ck_assert_double_eq_tol(back[i], rows[i], 8e-3);
        free(rows);
        free(back);
        free(work);
        free(block);
    }
}
END_TEST

/* q.k from the latent rows equals q.k from the decoded ones, and so does a weighted sum of values. */
START_TEST(fold_and_unfold__equal_decoding)
{
    static const char *const specs[] = {"fp16", "fp16+had", "int4.tok", "int4.ch+had", "int8.tok+had+had"};
    for (size_t k = 0; k < N_DIMS * 5; k++) {
        uint32_t d = dims[k / 5];
        kvc_coder coder = coder_of(specs[k % 5], d);
        float *rows = malloc(8 * d * 4), *back = malloc(8 * d * 4), *latent = malloc(8 * d * 4);
        float *work = malloc(kvc_coder_work(&coder) * 4), q[512], folded[512], sum[512], out[512];
        void *block = aligned_alloc(16, coder.block_bytes);
        fill(rows, 8 * d, k);
        fill(q, d, k + 3);
        kvc_coder_encode(&coder, 0, rows, d, block, work);
        kvc_coder_decode(&coder, 0, block, back, d, work);
        kvc_coder_decode_latent(&coder, 0, block, latent);
        float bias = kvc_coder_fold_query(&coder, 0, q, folded), mass = 0.0f;
        memset(sum, 0, sizeof sum);
        for (uint32_t c = 0; c < d; c++) out[c] = 100.0f; /* is added to */
        for (uint32_t t = 0; t < 8; t++) {
            double direct = 0.0, through = bias;
            for (uint32_t c = 0; c < d; c++) direct += (double)q[c] * back[t * d + c];
            for (uint32_t c = 0; c < d; c++) through += (double)folded[c] * latent[t * d + c];
            ck_assert_double_eq_tol(direct, through, 1e-4);
            float weight = 0.1f * (float)(t + 1);
            mass += weight;
            for (uint32_t c = 0; c < d; c++) sum[c] += weight * latent[t * d + c];
        }
        kvc_coder_unfold_output(&coder, 0, sum, mass, out, work);
        for (uint32_t c = 0; c < d; c++) {
            double want = 100.0;
            for (uint32_t t = 0; t < 8; t++) want += 0.1 * (t + 1) * back[t * d + c];
            ck_assert_double_eq_tol(out[c], want, 1e-4);
        }
        free(rows);
        free(back);
        free(latent);
        free(work);
        free(block);
    }
}
END_TEST

START_TEST(had__huge_rows_do_not_overflow)
{
    kvc_coder coder = coder_of("int4.tok+had", 512);
    float rows[8 * 512], *work = malloc(kvc_coder_work(&coder) * 4);
    void *block = aligned_alloc(16, coder.block_bytes);
    for (int i = 0; i < 8 * 512; i++) rows[i] = i % 2 ? 3.4e38f : 3.4e38f * (float)(i % 3 - 1);
    kvc_coder_encode(&coder, 0, rows, 512, block, work);
    kvc_coder_decode(&coder, 0, block, rows, 512, work);
    for (int i = 0; i < 8 * 512; i++) ck_assert(isfinite(rows[i]));
    free(work);
    free(block);
}
END_TEST

CHECK_MAIN("had", had__is_the_walsh_hadamard_matrix, had__decodes_to_the_rows_it_encoded,
           fold_and_unfold__equal_decoding, had__huge_rows_do_not_overflow)
