/* lut.c - symbol "lut": each latent channel coded as the nearest of 2^b entries of a fitted table (b 1 to 8): one for
 * the side with a scale for each channel, one for each head, or one for each channel of each head (".static"). It is
 * "vq" of one dimension. FORMAT.md, "lut". */
#include "codec/table.h"

static kvc_status check(const kvc_codec *codec, kvc_error *err)
{
    if (codec->bits < 1 || codec->bits > 8)
        return kvc_fail(err, KVC_FORMAT, "lut has 1 to 8 bits, not %u", codec->bits);
    if (codec->dims != 1) return kvc_fail(err, KVC_FORMAT, "lut codes hold 1 value, not %u", codec->dims);
    KVC_TRY(kvci_table_check_scale(codec, "lut", err));
    return kvci_check_unsegmented(codec, err);
}

const kvc_symbol kvci_symbol_lut = {.check = check,
                                    .fits = kvci_table_fits,
                                    .layout = kvci_table_layout,
                                    .encode = kvci_table_encode,
                                    .decode = kvci_table_decode,
                                    .param_bytes = kvci_table_param_bytes,
                                    .param_check = kvci_table_param_check,
                                    .frame = &kvci_table_frame};
