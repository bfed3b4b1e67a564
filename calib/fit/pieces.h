/* pieces.h - what a family has to define: the constants of one transform, or of one symbol. */
#ifndef CALIB_FIT_PIECES_H
#define CALIB_FIT_PIECES_H
#include "fit.h"

/* Writes kvc_coder_part_bytes(coder, 0) bytes: the transform at the head of coder->codec's chain. */
typedef kvc_status fit_transform_fn(const fit_data *data, const fit_options *options, const kvc_coder *coder,
                                    void *part, kvc_error *err);
fit_transform_fn fit_klt, fit_rot, fit_smooth, fit_perm;

/* Where kvc_coder_part_bytes(coder, KVC_SYMBOL_PIECE) bytes go: the symbol's constants. */
typedef struct symbol_wish {
    const kvc_coder *coder;
    void *part;
} symbol_wish;
/* The constants of n symbols of a family, fitted to latent rows y [H][R][d] (through kvc_coder_transform) with
 * weights [H][R]. Messages begin with the codec. */
typedef kvc_status fit_symbol_fn(const fit_data *data, const fit_options *options, const float *y, uint32_t n,
                                 const symbol_wish *wishes, kvc_error *err);
fit_symbol_fn fit_tables, fit_seg;

/* What `why` says, behind the codec's name. */
kvc_status fit_fail(const kvc_codec *codec, kvc_status status, const kvc_error *why, kvc_error *err);
#endif
