/* units.h - what errors in the latents of one head cost beside those in another's. */
#ifndef CALIB_FIT_UNITS_H
#define CALIB_FIT_UNITS_H
#include "fit.h"

/*  units [H] out, 0 .. 1, the largest 1
 * A loss is e' M e with the metric M of its head (fit.h), latents are T x; |T e|^2 units[h] is the loss on average
 * over directions: tr M / |T|^2, the same factor in every direction for a klt, whose metric has another scale in each
 * head. T is read off the coder, whose transforms have their constants. Heads without any metric all have unit 1. */
kvc_status units_of_heads(const fit_data *data, const kvc_coder *coder, double *units, kvc_error *err);
#endif
