/* profile_fields.h - the one list of what a profile holds: it allocates, saves, loads and checks. */
#ifndef CALIB_IO_PROFILE_FIELDS_H
#define CALIB_IO_PROFILE_FIELDS_H
#include "h5.h"
#include "profile.h"

#define PROFILE_KIND "kvcalib profile"
#define PROFILE_SCHEMA 3u

/* Arrays of doubles, allocated by profile_new(). */
typedef struct profile_array {
    const char *path;
    double **data; /* the profile's member */
    unsigned rank;
    uint64_t dims[3];
    bool is_signed; /* else every value is >= 0 */
    const char *about;
} profile_array;
enum { PROFILE_ARRAYS = 20 };
void profile_arrays(profile *p, profile_array out[PROFILE_ARRAYS]);
size_t profile_array_count(const profile_array *a);
h5_field profile_array_field(const profile_array *a);

/* Fields of fixed shape that lie in the struct itself. */
enum { PROFILE_HEAD = 21 };
void profile_head(profile *p, h5_field out[PROFILE_HEAD]);

/* Anchors and candidate specs have another form in the file than in memory: columns. */
typedef struct profile_columns {
    char (*keys)[KVC_SPEC_MAX], (*values)[KVC_SPEC_MAX]; /* [K], [V] */
    uint32_t *key_page, *value_page;                     /* [K], [V] */
    uint16_t *anchor_key, *anchor_value;                 /* [A][L] */
    double *local_loss, *kl, *kl_stderr, *ppl_ref, *ppl; /* [A] */
    uint64_t *n_tokens;                                  /* [A] */
    uint32_t *price_layer;                               /* [N] */
    uint16_t *price_side, *price_candidate;              /* [N] */
    double *price_kl, *price_stderr;                     /* [N] */
} profile_columns;
enum { PROFILE_CANDIDATE_FIELDS = 4, PROFILE_ANCHOR_FIELDS = 8, PROFILE_PRICE_FIELDS = 5, PROFILE_FIT_FIELDS = 3 };
typedef struct profile_counts {
    uint64_t keys, values, anchors, layers, prices;
} profile_counts;
kvc_status profile_columns_new(profile_columns *out, const profile_counts *n, kvc_error *err);
void profile_columns_free(profile_columns *c);
void profile_candidates(profile_columns *c, uint64_t n_keys, uint64_t n_values,
                        h5_field out[PROFILE_CANDIDATE_FIELDS]);
void profile_prices(profile_columns *c, uint64_t n_prices, h5_field out[PROFILE_PRICE_FIELDS]);
void profile_fit(profile *p, h5_field out[PROFILE_FIT_FIELDS]);
/* Names of domains, and what anchors and prices lose on each, once there are as many as there will be. */
enum { PROFILE_DOMAIN_FIELDS = 3 };
#define PROFILE_DOMAIN_NAMES "domains/name"
void profile_domains(profile *p, h5_field out[PROFILE_DOMAIN_FIELDS]);
/* Empty names, losses zero; n at most PROFILE_MAX_COUNT. */
kvc_status profile_allocate_domains(profile *p, uint32_t n, kvc_error *err);
/* Room for one more row of domains behind n; it is at `value`. */
kvc_status profile_extend_domains(const profile *p, double **rows, uint32_t n, double value, kvc_error *err);
void profile_anchors(profile_columns *c, uint64_t n_anchors, uint64_t n_layers, h5_field out[PROFILE_ANCHOR_FIELDS]);

#define PROFILE_MAX_COUNT                                                                                            \
    65535u /* layers, heads, candidates, domains: their products with channels stay far below                        \
              2^64 */
#define PROFILE_RECIPE "provenance/recipe"

/* Shapes of which no array's size can overflow. */
kvc_status profile_check_shape(const kvc_model_info *m, uint64_t n_keys, uint64_t n_values, kvc_error *err);
/* The parts of a candidate at a layer lie in the heap and libkvc takes them; *end is raised to where they end. */
kvc_status profile_check_params(const profile *p, bool values, uint32_t layer, uint32_t candidate, uint64_t *end,
                                kvc_error *err);
/* The heap and the places of its parts; the shapes are the same. */
kvc_status profile_copy_params(profile *to, const profile *from, kvc_error *err);
/* Finite, in range, consistent; `nonfinite` is the status of a NaN or infinity, `bad` of everything else. */
kvc_status profile_check(profile *p, const char *name, kvc_status nonfinite, kvc_status bad, kvc_error *err);
#endif
