/* share.h - "vq[N]x8": how many of a side's codes each head gets. */
#ifndef CALIB_FIT_SHARE_H
#define CALIB_FIT_SHARE_H
#include <stdint.h>
#include "kvc/kvc.h"

/*  value  [H][d] in, >= 0: what the latent channels are worth, energies times the weight and the unit of their head
 *  counts [H]    out: at most d each, n_codes in all (n_codes <= H d), and at least one where there are H or more
 * Reverse water-filling over all channels of all heads at bits n_codes; a head gets as many codes as its channels'
 * rates fill, rounded. Of equal claims the first. Heads of equal worth, zero included, get equal numbers. */
kvc_status share_codes(uint32_t n_heads, uint32_t d, uint32_t bits, uint32_t n_codes, const double *value,
                       uint32_t *counts, kvc_error *err);
#endif
