/* attend_kernel.h - the three inner loops of attention over a tile of fp32 rows in the first-level cache.
 *
 * Every sum over channels runs in eight lanes that are added as a fixed tree, every sum over tokens in order, so that
 * a query's result depends neither on the machine's vector length nor on the queries beside it. */
#ifndef RUNTIME_ATTEND_KERNEL_H
#define RUNTIME_ATTEND_KERNEL_H
#include <stdint.h>

/*  q      [dim]           in
 *  rows   [n_rows][dim]   in, n_rows a multiple of 8
 *  scores [n_rows]        out: q . row + bias;   dim is a multiple of 8 */
void kvci_kernel_scores(const float *q, const float *rows, uint32_t n_rows, uint32_t dim, float bias, float *scores);

/*  scores [n_rows]        in out: cap tanh(score / cap), cap > 0 to within 1e-6 cap;  n_rows is a multiple of 8 */
void kvci_kernel_softcap(float *scores, uint32_t n_rows, float cap);

/*  p      [n_rows]        in scores, out exp(score - max) where first <= i < end, else 0
 *  max                    in out: the running maximum
 *  scale                  out: what earlier sums are to be multiplied with
 *  returns the sum of p.  n_rows is a multiple of 8, first < end */
float kvci_kernel_softmax(float *p, uint32_t n_rows, uint32_t first, uint32_t end, float *max, float *scale);

/*  o [dim]  in out: o + sum_i p_i row_i */
void kvci_kernel_accumulate(const float *p, const float *rows, uint32_t n_rows, uint32_t dim, float *o);

#endif
