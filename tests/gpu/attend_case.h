/* attend_case.h - a cache of libkvc as the attention kernels see one, and what they should make of it. */
#ifndef TESTS_GPU_ATTEND_CASE_H
#define TESTS_GPU_ATTEND_CASE_H
#include <stddef.h>
#include "template/attend_args.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ATTEND_CASE_SEQUENCES 70 /* at most */

typedef struct attend_shape {
    const char *key, *value; /* specs */
    uint32_t n_heads, group, d, page, sinks, window, n_queries, n_sequences, sliding_window;
    float softcap; /* 0: none */
    uint32_t lengths[ATTEND_CASE_SEQUENCES];
} attend_shape;

typedef struct attend_case {
    attend_shape shape;
    attend_layer layer; /* host pointers */
    size_t pool_bytes, rows_bytes, key_table_values, value_table_values;
    uint32_t *lengths, *packed, *slots; /* [n_sequences] */
    float *queries;                     /* [n_sequences][n_queries][query heads][d] */
    double *want;                       /* the same shape: attention over the decoded cache */
    void *cache, *config, *image;
} attend_case;

/* Random keys, values and queries. Ends the program where libkvc refuses. */
void attend_case_new(attend_case *out, const attend_shape *shape);
void attend_case_free(attend_case *c);
/* |got - want| / |want| over all rows; infinity where a value is missing. */
double attend_case_error(const attend_case *c, const float *got);

#ifdef __cplusplus
}
#endif
#endif
