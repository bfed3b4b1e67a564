/* objective.h - what a plan is judged by where a profile tells texts (domains) apart: the mean over all of them, or
 * with --objective max the one that loses most. */
#ifndef CLI_OBJECTIVE_H
#define CLI_OBJECTIVE_H
#include "cost.h"
#include "predict.h"
#include "settings.h"
#include "solve_minimax.h"

typedef struct objective {
    domain_losses losses; /* of the priced table's options; n is 0 where the mean decides */
    double **rows;        /* what losses.loss points to, owned */
    double *weights;      /* [n] the table's losses are the domains' in these shares */
} objective;

bool objective_is_max(const settings *s);
/* Say what --objective max does not tell apart in this profile, made from n_files prompt files (0: not known). */
void objective_note(const profile *p, const settings *s, size_t n_files);

/* Losses of the priced options in every domain, so scaled that the anchors' KLs in the domains are met: one
 * prediction (predict.h) of KL from loss then holds for all. n stays 0 where `priced` has no domains. */
kvc_status objective_new(objective *out, const priced *priced, const profile *p, kvc_error *err);
void objective_free(objective *o); /* an empty one is fine */

/* Weights for a budget in bytes; the table's losses become the weighted ones. plan (NULL: not wanted) is the plan of
 * the least largest loss; its choice is owned, NULL where none fits the budget. */
kvc_status objective_for_bytes(objective *o, cost_table *t, uint64_t budget, size_t max_cells, front_point *plan,
                               kvc_error *err);
/* The same for a limit of the KL in every domain. plan: the cheapest on the front of the mean that keeps it. */
kvc_status objective_for_loss(objective *o, cost_table *t, const predictor *predictor, double limit, size_t max_cells,
                              front_point *plan, kvc_error *err);
/* KL of an anchor in the domain that loses most. */
double objective_anchor_kl(const profile *p, uint32_t anchor);
#endif
