/* rivals.h - other ways to choose among the same profile's candidates, with the same predictions: what a report shows
 * beside a solution. */
#ifndef CLI_RIVALS_H
#define CLI_RIVALS_H
#include "solution.h"

typedef struct rivals {
    const solution *subject; /* borrowed */
    solution exact,
        tuned;         /* fronts; their profile is NULL where the subject's own is of that method, or there is none */
    kvc_error untuned; /* why there is none of KVTuner's, or empty */
    uint64_t seed;
} rivals;

kvc_status rivals_find(rivals *out, const solution *subject, uint64_t seed, kvc_error *err);
void rivals_free(rivals *r);
/* The exact front, and that of KVTuner's search (NULL: there is none). */
const solution *rivals_exact(const rivals *r);
const solution *rivals_tuned(const rivals *r);
/* Greedy and random plans of at most so many bytes, from the exact front's candidates. Owned: free(out->choice). */
kvc_status rivals_greedy(const rivals *r, uint64_t budget, front_point *out, kvc_error *err);
kvc_status rivals_random(const rivals *r, uint64_t budget, uint64_t seed, front_point *out, kvc_error *err);
/* Predicted as the subject's plans are. `of` is one of the rivals or the subject. */
double rivals_kl(const rivals *r, const solution *of, const front_point *point);
#endif
