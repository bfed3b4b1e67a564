/* gather.h - what one layer's keys and values look like over all calibration text, for fitting codecs to them.
 *
 * Per sequence: sensitivity weights (methods.md section 3; capped at CAP times the sequence's mean, so that no token
 * rules a fit), weighted moments in double, and a stratified sample of rows of the range that gets compressed. Memory
 * does not grow with the text, only with the rows sampled. The first sequences can be left out: a loss measured on
 * what was fitted to comes out too small. */
#ifndef CALIB_SCORE_GATHER_H
#define CALIB_SCORE_GATHER_H
#include "fit.h"
#include "model.h"
#include "profile.h"

typedef struct gather gather;

/* fit_rows: tokens sampled from all sequences together, about. fit_from: the first sequence that is gathered (all
 * are, where none from there on has a compressed token). antkv_keys: the weight of a key is AnTKV's score. */
kvc_status gather_new(gather **out, backend *b, const profile *p, const sequence_set *tokens, size_t fit_rows,
                      size_t fit_from, bool antkv_keys, kvc_error *err);
void gather_free(gather *g); /* NULL is fine */
void gather_begin(gather *g, uint32_t layer);
/* The sequences of a layer, in order, those that are left out too. */
kvc_status gather_add(gather *g, const layer_view *view, kvc_error *err);
/* What was gathered of one side; valid until the next gather_begin(). */
void gather_side(gather *g, bool values, fit_data *out);
/* Bytes of all this and of what sensitivity() and moments() take, and of tables fitted to table_rows points. */
memory_need gather_memory(const backend *b, const kvc_model_info *m, size_t longest, size_t fit_rows,
                          size_t table_rows);
#endif
