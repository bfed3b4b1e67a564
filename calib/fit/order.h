/* order.h - which latent channels share a code of "vq": two ways to deal them out. */
#ifndef CALIB_FIT_ORDER_H
#define CALIB_FIT_ORDER_H
#include <stdint.h>

/* Codes of equally many channels. Those of one code lie side by side, codes and classes in order. */
typedef struct code_class {
    uint32_t n, dims;        /* codes, channels of each */
    uint32_t code, position; /* the first of each */
} code_class;

typedef struct code_classes {
    uint32_t n, n_codes, n_kept; /* n_kept: channels that have a code */
    code_class class[5];         /* dims ascending */
} code_classes;

void classes_add(code_classes *all, uint32_t n, uint32_t dims);

/*  energy [d]      in, >= 0: mean squares of the channels
 *  order  [n_kept] out: the channel at each position
 * The channels of least energy are those that are dropped. */

/* Classes take neighbours in the order of falling energy, fewest dims first; in a class of n codes the first takes
 * channels 0, n, 2n, ... of them, the next 1, n + 1, ... */
void order_bands(const code_classes *all, uint32_t d, const double *energy, uint16_t *order);

/* Codes of `bits` bits shall have equal work: a channel's is the rate max(0, log2(energy / t) / 2) of reverse
 * water-filling, t such that all rates add up to the bits of all codes. Channels in the order of falling energy go to
 * the code with the least sum of rates that has room. d n_codes operations. */
void order_balanced(const code_classes *all, uint32_t bits, uint32_t d, const double *energy, uint16_t *order);
#endif
