/* Pages of the golden files fitted.bin, segments.bin, joint.bin, shared.bin, shared_klt.bin and shared_runs.bin: what
 * another implementation of FORMAT.md (tests/spec) made of them. */
#include <stdio.h>
#include <string.h>
#include "check_main.h"
#include "kvc/codec.h"

enum { WIRE_LUT = 4, WIRE_SEG = 6 };

static const char *golden(const char *name, const char *ending)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/golden/good/%s.%s", getenv("KVC_TEST_DATA"), name, ending);
    return path;
}

static uint8_t *read_blocks(const char *name, size_t *n)
{
    uint8_t *bytes = malloc(1 << 16);
    const char *path = golden(name, "blocks");
    FILE *in = fopen(path, "rb");
    ck_assert_msg(in != NULL, "%s is missing", path);
    *n = fread(bytes, 1, 1 << 16, in);
    fclose(in);
    return bytes;
}

/* Rows, their block, the decoded rows; returns how many bytes that is. */
static size_t check_page(const kvc_coder *coder, uint32_t head, const uint8_t *at)
{
    size_t row_bytes = (size_t)coder->page * coder->head_dim * sizeof(float);
    float *rows = malloc(row_bytes), *work = malloc(kvc_coder_work(coder) * sizeof *work);
    size_t n = kvc_coder_block(coder, head).bytes;
    uint8_t *block = malloc(n); /* exactly as many, for the sanitizers */
    char spec[KVC_SPEC_MAX];
    kvc_codec_format(&coder->codec, spec);
    memcpy(rows, at, row_bytes);
    kvc_coder_encode(coder, head, rows, coder->head_dim, block, work);
    ck_assert_msg(memcmp(block, at + row_bytes, n) == 0, "%s: block differs", spec);
    kvc_coder_decode(coder, head, block, rows, coder->head_dim, work);
    ck_assert_msg(memcmp(rows, at + row_bytes + n, row_bytes) == 0, "%s: rows differ", spec);
    free(rows);
    free(work);
    free(block);
    return 2 * row_bytes + n;
}

/* All heads; their blocks fill a page. Returns how many bytes that is. */
static size_t check_side(const kvc_coder *coder, const uint8_t *blocks)
{
    size_t at = 0;
    uint64_t end = 0;
    for (uint32_t head = 0; head < coder->n_kv_heads; head++) {
        ck_assert_uint_eq(kvc_coder_block(coder, head).offset, end);
        at += check_page(coder, head, blocks + at);
        end += kvc_coder_block(coder, head).bytes;
    }
    ck_assert_uint_eq(end, coder->page_bytes);
    return at;
}

static void check_file(const char *name, size_t least)
{
    kvc_config *cfg;
    kvc_error err = {""};
    size_t n, n_params, at = 0;
    uint8_t *blocks = read_blocks(name, &n);
    ck_assert_msg(kvc_config_open(&cfg, golden(name, "bin"), &err) == KVC_OK, "%s", err.message);
    const kvc_model_info *m = kvc_config_model(cfg);
    const uint8_t *params = kvc_config_parameters(cfg, &n_params);
    for (uint32_t i = 0; i < 2 * m->n_layers; i++) {
        const kvc_layer *layer = kvc_config_layer(cfg, i / 2);
        const kvc_codec *codec = i % 2 ? &layer->value : &layer->key;
        kvc_coder coder;
        if (codec->symbol < WIRE_LUT || codec->symbol > WIRE_SEG) continue;
        kvc_status status = kvc_coder_init(&coder, codec, params + codec->param_offset, m->n_kv_heads, m->head_dim,
                                           kvc_config_tokens(cfg)->page, &err);
        ck_assert_msg(status == KVC_OK, "%s", err.message);
        at += check_side(&coder, blocks + at);
    }
    ck_assert_uint_eq(at, n);
    ck_assert_uint_gt(n, least);
    kvc_config_close(cfg);
    free(blocks);
}

START_TEST(coder__encodes_and_decodes_the_golden_pages)
{
    check_file("fitted", 7000);
    check_file("segments", 4000);
    check_file("joint", 3000);
    check_file("shared", 18000);
    check_file("shared_klt", 5000);
    check_file("shared_runs", 24000);
}
END_TEST

CHECK_MAIN("golden", coder__encodes_and_decodes_the_golden_pages)
