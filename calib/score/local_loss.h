/* local_loss.h - what every candidate does to one layer, everything else exact (methods.md section 4, local). */
#ifndef CALIB_SCORE_LOCAL_LOSS_H
#define CALIB_SCORE_LOCAL_LOSS_H
#include "model.h"
#include "profile.h"

typedef struct local_loss local_loss;

/* For the candidates of p, which gets the results, and sequences of up to `longest` tokens. */
kvc_status local_loss_new(local_loss **out, backend *b, profile *p, uint32_t probe_rows, size_t longest,
                          kvc_error *err);
void local_loss_free(local_loss *l); /* NULL is fine */
/* Sums at zero, candidates bound to the constants that p holds for the layer. */
kvc_status local_loss_begin(local_loss *l, uint32_t layer, kvc_error *err);
/* One sequence: rows [n_rows] are the query rows to look at, domain which of p's domains it belongs to (where p has
 * any). view->residual is not read. */
kvc_status local_loss_add(local_loss *l, const layer_view *view, const uint32_t *rows, uint32_t n_rows,
                          uint32_t domain, kvc_error *err);
/* e_k, e_v, e_a, e_o, key_loss, value_loss and output_power of the layer into p, and the domains' losses. */
void local_loss_finish(local_loss *l);
/* Bytes of all this and of what probe() takes. */
memory_need local_loss_memory(const backend *b, const kvc_model_info *model, uint32_t n_keys, uint32_t n_values,
                              uint32_t probe_rows, size_t longest);
#endif
