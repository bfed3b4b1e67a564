/* pieces.h - what a family has to define: the constants of one transform, or of one symbol. */
#ifndef CALIB_FIT_PIECES_H
#define CALIB_FIT_PIECES_H
#include "fit.h"

/* Writes kvc_coder_part_bytes(coder, 0) bytes: the transform at the head of coder->codec's chain. */
typedef kvc_status fit_transform_fn(const fit_data *data, const fit_options *options, const kvc_coder *coder,
                                    void *part, kvc_error *err);
fit_transform_fn fit_klt, fit_rot, fit_smooth, fit_perm;

/* Writes kvc_coder_part_bytes(coder, KVC_SYMBOL_PIECE) bytes: the symbol's constants, fitted to latent rows y
 * [H][R][d] (through kvc_coder_transform) with weights [H][R]. */
typedef kvc_status fit_symbol_fn(const fit_data *data, const fit_options *options, const kvc_coder *coder,
                                 const float *y, void *part, kvc_error *err);
fit_symbol_fn fit_lut, fit_vq, fit_seg;
#endif
