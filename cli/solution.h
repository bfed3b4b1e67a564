/* solution.h - from a profile to the front of best plans, and the one that a budget chooses. */
#ifndef CLI_SOLUTION_H
#define CLI_SOLUTION_H
#include <jansson.h>
#include "cost.h"
#include "objective.h"
#include "plan.h"
#include "predict.h"
#include "settings.h"

/* What --window auto and --sinks auto measured with one policy. */
typedef struct policy_trial {
    kvc_token_policy tokens;
    double bits;                    /* of the best plan found with it */
    double kl, kl_stderr;           /* what it loses */
    double kl_late, kl_late_stderr; /* at positions that read compressed pages under every policy tried */
    bool chosen;
} policy_trial;

enum { MAX_TRIALS = 16 };

/* What --evaluations did, on calibration text; KL is over all positions, with --objective max of the text that loses
 * most. */
typedef struct refinement {
    uint32_t evaluations;     /* measurements; 0: not refined */
    uint32_t plans, accepted; /* plans among them; those that were better than the best so far */
    double start_kl, kl, kl_stderr;
    front_point start; /* the plan that it began with; its choice is owned */
} refinement;

typedef struct solution {
    const profile *profile;  /* borrowed */
    kvc_token_policy tokens; /* of the plans: the profile's, or another with its page */
    uint64_t context;
    const char *method;
    priced priced;
    front front; /* exact; near it under side constraints (search/constrain.h); --method kvtuner: of its plans */
    const char *front_method;
    double *measured; /* [front.n] KL that the front's method measured itself, and sorted by; NULL: none */
    predictor predictor;
    objective objective;
    front_point chosen; /* its choice is owned; bytes with the padding of --equal-pages */
    refinement refined;
    bool limited; /* by side constraints (limits.h) */
    policy_trial trials[MAX_TRIALS];
    size_t n_trials;
} solution;

/* The front alone; nothing is chosen. */
kvc_status solution_front(solution *out, const profile *p, uint64_t context, kvc_error *err);
/* The front that --method has, exact for baselines, with the side constraints; nothing is chosen. only: may be NULL.
 */
kvc_status solution_front_among(solution *out, const profile *p, const kvc_token_policy *tokens, const settings *s,
                                const candidate_filter *only, kvc_error *err);
/* The front, and the plan by --method for --bits or --max-loss; both keep the side constraints (limits.h).
 * KVC_INFEASIBLE names the nearest feasible budget. */
kvc_status solution_find(solution *out, const profile *p, const settings *s, kvc_error *err);
/* The same with another policy, and among some of the candidates (may be NULL: all). */
kvc_status solution_find_among(solution *out, const profile *p, const kvc_token_policy *tokens, const settings *s,
                               const candidate_filter *only, kvc_error *err);
void solution_free(solution *s);

double solution_bits(const solution *s, const front_point *point); /* true bits per value at the context */
double solution_kl(const solution *s, const front_point *point);   /* predicted; NaN if nothing was measured. With
                                                                      --objective max of the text that loses most */
double solution_anchor_kl(const solution *s, uint32_t anchor);     /* measured, of the same text */
uint64_t solution_budget(const solution *s, double bits);          /* bytes of that many bits per value */
/* A point becomes the chosen one; its choice is copied. */
kvc_status solution_choose(solution *s, const front_point *point, kvc_error *err);
/* Candidate index of an item in a point. */
uint16_t solution_candidate(const solution *s, const front_point *point, uint32_t item);
/* Owned: plan_free(). */
kvc_status solution_plan(const solution *s, const front_point *point, plan *out, kvc_error *err);

/* At most n points spread evenly over the bytes, the cheapest, the best, those that were measured, and the chosen
 * one. brief: bits and prediction alone, else as contract.md says. NULL: out of memory. */
json_t *solution_front_json(const solution *s, size_t n, bool brief);
/* The same points, a line each, under the names of the JSON's fields; owned: free(). */
char *solution_front_csv(const solution *s, size_t n);
/* What the search for a policy measured: [{"sinks", "window", "bits_per_value", "kl", "kl_stderr", "kl_late",
 * "kl_late_stderr", "chosen"}] */
json_t *solution_trials_json(const solution *s);
#endif
