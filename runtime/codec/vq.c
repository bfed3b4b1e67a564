/* vq.c - symbol "vq": vectors of 1, 2, 4, 8 or 16 interleaved latent channels, each coded as the nearest of 2^b
 * entries of a fitted table (b 1 to 12). Static: no scale per token or page. FORMAT.md, "vq"; the work is in
 * table*.c. */
#include "codec/table.h"

static int is_dims(uint32_t dims)
{
    return dims >= 1 && dims <= TABLE_MAX_DIMS && (dims & (dims - 1)) == 0;
}

/* Dims of the eighths, sorted channels first: they do not fall, but that the last ones may be dropped. */
static kvc_status check_eighths(const uint8_t segment[8], kvc_error *err)
{
    for (uint32_t i = 0; i < 8; i++) {
        if (segment[i] ? !is_dims(segment[i]) : i == 0)
            return kvc_fail(err, KVC_FORMAT, "vq: eighth %u has %u dimensions, not 1, 2, 4, 8 or 16", i, segment[i]);
        if (i && segment[i] && segment[i] < segment[i - 1])
            return kvc_fail(err, KVC_FORMAT, "vq: eighth %u has %u dimensions after %u", i, segment[i],
                            segment[i - 1]);
        if (i && segment[i] && segment[i - 1] == 0)
            return kvc_fail(err, KVC_FORMAT, "vq: eighth %u follows one that is dropped", i);
    }
    return KVC_OK;
}

static kvc_status check(const kvc_codec *codec, kvc_error *err)
{
    if (codec->bits < 1 || codec->bits > TABLE_MAX_BITS)
        return kvc_fail(err, KVC_FORMAT, "vq has 1 to %u bits, not %u", TABLE_MAX_BITS, codec->bits);
    KVC_TRY(kvci_table_check_scale(codec, "vq", err));
    if (codec->dims == 0) return check_eighths(codec->segment, err);
    if (!is_dims(codec->dims))
        return kvc_fail(err, KVC_FORMAT, "vq has 1, 2, 4, 8 or 16 dimensions, not %u", codec->dims);
    return kvci_check_unsegmented(codec, err);
}

const kvc_symbol kvci_symbol_vq = {.check = check,
                                   .fits = kvci_table_fits,
                                   .layout = kvci_table_layout,
                                   .encode = kvci_table_encode,
                                   .decode = kvci_table_decode,
                                   .param_bytes = kvci_table_param_bytes,
                                   .param_check = kvci_table_param_check,
                                   .frame = &kvci_table_frame};
