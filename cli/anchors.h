/* anchors.h - plans whose global loss is measured on calibration text, so that a loss can be predicted. */
#ifndef CLI_ANCHORS_H
#define CLI_ANCHORS_H
#include "profile.h"
#include "score.h"
#include "settings.h"
#include "subject.h"

enum { N_ANCHORS = 4 };

/* Adds up to N_ANCHORS anchors to the profile, at budgets that people ask for, along the exact
 * front. final: the exact model's last hidden states of `tokens`. */
kvc_status anchors_measure(profile *p, const settings *s, const subject *subject, const sequence_set *tokens,
                           hidden_states *final, kvc_error *err);
#endif
