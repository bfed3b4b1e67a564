/* nearest.h - which of k centroids is nearest to each of n points, at close to the machine's speed.
 *
 * nearest c minimises |c|^2 / 2 - x.c: dims multiply-adds for each pair. Points lie in groups of 16 so that one
 * instruction serves a group; dims are padded with zeros to 1, 2, 4, 8 or 16, for each of which the loops are
 * unrolled. Values should be centred and of order one: the subtraction above is in fp32. */
#ifndef CALIB_BACKEND_NEAREST_H
#define CALIB_BACKEND_NEAREST_H
#include <stddef.h>
#include <stdint.h>
#include "kvc/kvc.h"

#define NEAREST_GROUP 16u
#define NEAREST_MAX_DIMS 16u

/* x [groups][dims][16], w [groups][16]: value i of point p is x[(p / 16 * dims + i) * 16 + p % 16]. Points from n on
 * have weight 0. */
typedef struct packed_points {
    size_t n, groups;
    uint32_t dims; /* padded */
    float *x, *w;
} packed_points;

/* c [chunks][dims][16] like points, half [chunks][16] = |c|^2 / 2; those from k on are too far off to be chosen. */
typedef struct packed_centroids {
    uint32_t k, dims;
    float *c, *half;
} packed_centroids;

/* Zeros. Members are NULL on failure; free what there is. */
kvc_status packed_points_new(packed_points *p, size_t n, uint32_t dims, kvc_error *err);
void packed_points_free(packed_points *p);
kvc_status packed_centroids_new(packed_centroids *c, uint32_t k, uint32_t dims, kvc_error *err);
void packed_centroids_free(packed_centroids *c);

static inline size_t packed_at(uint32_t dims, size_t i)
{
    return i / NEAREST_GROUP * dims * NEAREST_GROUP + i % NEAREST_GROUP;
}

/* After writing c. */
void packed_centroids_ready(packed_centroids *c);

/* label [16 n_groups] of the groups first_group .. ; ties go to the lowest index. */
void nearest(const packed_points *p, const packed_centroids *c, size_t first_group, size_t n_groups, uint32_t *label);
/* The same in plain C, for machines without AVX-512. */
void nearest_plain(const packed_points *p, const packed_centroids *c, size_t first_group, size_t n_groups,
                   uint32_t *label);
#endif
