/* vq.c - symbol "vq": vectors of 1, 2, 4, 8 or 16 latent channels, of one length, a mix of them, or as many as each
 * head is worth, each coded as the nearest of 2^b entries of a fitted table (b 1 to 12). Static: no scale per token
 * or page. FORMAT.md, "vq"; the work is in table*.c. */
#include "codec/table.h"

static int is_dims(uint32_t dims)
{
    return dims >= 1 && dims <= TABLE_MAX_DIMS && (dims & (dims - 1)) == 0;
}

/* Sub-vectors of 1, 2, 4, 8 and 16 channels in every 64. */
static kvc_status check_mix(const uint8_t segment[8], kvc_error *err)
{
    uint32_t channels = 0;
    for (uint32_t k = 0; k < 5; k++) channels += (uint32_t)segment[k] << k;
    if (channels == 0 || channels > TABLE_MIX_ROW)
        return kvc_fail(err, KVC_FORMAT, "vq: a mix of %u channels, not 1 to %u", channels, TABLE_MIX_ROW);
    if (segment[6] || segment[7])
        return kvc_fail(err, KVC_FORMAT, "vq: a mix has five classes, the other segments are zero");
    return KVC_OK;
}

/* So many codes for every 64 channels of all heads. */
static kvc_status check_shared(const kvc_codec *codec, kvc_error *err)
{
    const uint8_t *s = codec->segment;
    if (s[5] > TABLE_MIX_ROW) return kvc_fail(err, KVC_FORMAT, "vq: %u codes for %u channels", s[5], TABLE_MIX_ROW);
    if (s[0] | s[1] | s[2] | s[3] | s[4] | s[6] | s[7])
        return kvc_fail(err, KVC_FORMAT, "vq: codes are either a mix or shared out among heads");
    if (codec->scale != KVC_SCALE_NONE)
        return kvc_fail(err, KVC_FORMAT, "vq: codes that are shared out among heads have one set of tables");
    return KVC_OK;
}

static kvc_status check(const kvc_codec *codec, kvc_error *err)
{
    if (codec->bits < 1 || codec->bits > TABLE_MAX_BITS)
        return kvc_fail(err, KVC_FORMAT, "vq has 1 to %u bits, not %u", TABLE_MAX_BITS, codec->bits);
    KVC_TRY(kvci_table_check_scale(codec, "vq", err));
    if (codec->dims == 0 && codec->segment[5]) return check_shared(codec, err);
    if (codec->dims == 0) return check_mix(codec->segment, err);
    if (!is_dims(codec->dims))
        return kvc_fail(err, KVC_FORMAT, "vq has 1, 2, 4, 8 or 16 dimensions, not %u", codec->dims);
    return kvci_check_unsegmented(codec, err);
}

const kvc_symbol kvci_symbol_vq = {.check = check,
                                   .fits = kvci_table_fits,
                                   .layout = kvci_table_layout,
                                   .block = kvci_vq_block,
                                   .encode = kvci_table_encode,
                                   .decode = kvci_table_decode,
                                   .param_bytes = kvci_table_param_bytes,
                                   .param_check = kvci_table_param_check,
                                   .frame = &kvci_table_frame};
