/* segments.h - how many bits each eighth of the latent channels gets in "seg[...]". */
#ifndef CALIB_FIT_SEGMENTS_H
#define CALIB_FIT_SEGMENTS_H
#include <stdint.h>

#define SEGMENTS 8u
#define SEGMENT_MAX_BITS 8u

/* What is left of a channel's variance by codes of b bits: the optimal scalar quantiser of a normal distribution, and
 * the bound 4^-b. */
extern const double segment_normal[SEGMENT_MAX_BITS + 1], segment_bound[SEGMENT_MAX_BITS + 1];

/*  variance [n_channels] in, >= 0, of the latent channels in order: sensitivity-weighted, over all heads; a multiple
 * of 8 left     [9]          in, as above, or measured loss     [8][9]       out, of each eighth at 0 .. 8 bits */
void segment_losses(uint32_t n_channels, const double *variance, const double *left,
                    double loss[SEGMENTS][SEGMENT_MAX_BITS + 1]);

/* The bits that lose least of all that add up to at most `total` (of 0 .. 64; bits per value are total / 8): exact,
 * by dynamic programming. Of equal losses the one with fewer bits in the last eighth that differs. Returns the loss.
 */
double segment_bits(const double loss[SEGMENTS][SEGMENT_MAX_BITS + 1], uint32_t total, uint8_t bits[SEGMENTS]);
#endif
