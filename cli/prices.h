/* prices.h - isolated global losses of candidates, measured on calibration text (methods.md section 5, "price"). */
#ifndef CLI_PRICES_H
#define CLI_PRICES_H
#include "profile.h"
#include "settings.h"
#include "subject.h"
#include "workdir.h"

/* Adds to p->prices what --price asks for and it lacks; interrupted work is kept in the work directory. */
kvc_status prices_measure(profile *p, const settings *s, const subject *subject, const sequence_set *calibration,
                          const workdir *w, kvc_error *err);
/* How many prices that are, at most. */
size_t prices_count(const settings *s, uint32_t n_layers, uint32_t n_keys, uint32_t n_values);
#endif
