/* report_doc.h - what `run` and `solve` know, as the document that the page is rendered from (report.h). */
#ifndef CLI_REPORT_DOC_H
#define CLI_REPORT_DOC_H
#include "rivals.h"
#include "score.h"
#include "solution.h"

/* A plan that was measured on the text of the final measurement. Texts are borrowed; NaN: not known. */
typedef struct baseline {
    const char *name, *method; /* method: see report.h */
    double bits, codes_bits;   /* per value: all of the cache at the context; codes and metadata of a page */
    double kl, kl_stderr, ppl_ratio, top1;
    bool yardstick; /* KIVI-2: others are given as shares of its KL */
} baseline;

/* The chosen plan on one of several texts. */
typedef struct domain {
    const char *name;
    eval_result result;
    double yardstick_kl; /* NaN: not measured */
} domain;

typedef struct report_input {
    const solution *solution;    /* with its profile */
    const kvc_config *config;    /* what was compiled; NULL: nothing */
    const eval_result *measured; /* the chosen plan on text held apart; NULL: not measured */
    const baseline *baselines;   /* [n_baselines] on the same text */
    const domain *domains;       /* [n_domains] */
    size_t n_baselines, n_domains;
    const rivals *rivals;     /* of the solution; NULL: its front stands alone */
    const json_t *provenance; /* of provenance.h; NULL: what the profile knows */
} report_input;

/* The bits of a plan, and what evaluate() said of it. */
kvc_status baseline_of(baseline *out, const solution *s, const kvc_layer *layers, const eval_result *r,
                       const char *name, const char *method, kvc_error *err);
/* {"evaluations", "plans", "accepted", "start_kl", "kl", "kl_stderr"}; null: not refined. Owned. */
json_t *refinement_json(const solution *s);
/* Owned: json_decref(). More may be added to it before it is rendered. */
kvc_status report_doc(json_t **out, const report_input *in, kvc_error *err);
#endif
