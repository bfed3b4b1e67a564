/* fp16.c - symbol "fp16": rows as they are, rounded to IEEE binary16. FORMAT.md, "fp16". */
#include "codec/pieces.h"

static kvc_status check(const kvc_codec *codec, kvc_error *err)
{
    if (codec->bits != 16 || codec->dims != 1) return kvc_fail(err, KVC_FORMAT, "fp16 has 16 bits and 1 dimension");
    if (codec->scale != KVC_SCALE_NONE) return kvc_fail(err, KVC_FORMAT, "fp16 takes no scale");
    return kvci_check_unsegmented(codec, err);
}

static void layout(kvc_coder *coder)
{
    coder->code_bytes = coder->page * coder->latent_dim * 2u;
    coder->block_bytes = coder->code_bytes;
}

static void encode(const kvc_coder *coder, uint32_t head, const float *y, uint8_t *block)
{
    (void)head;
    kvc_rows_to_fp16(y, (size_t)coder->page * coder->latent_dim, (uint16_t *)block);
}

static void decode(const kvc_coder *coder, uint32_t head, const uint8_t *block, uint32_t first_row, uint32_t n_rows,
                   float *y)
{
    (void)head;
    size_t d = coder->latent_dim;
    kvc_rows_to_float((const uint16_t *)block + first_row * d, KVC_F16, n_rows * d, y);
}

const kvc_symbol kvci_symbol_fp16 = {.check = check, .layout = layout, .encode = encode, .decode = decode};
