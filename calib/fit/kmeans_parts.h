/* kmeans_parts.h - what the files of k-means share. */
#ifndef CALIB_FIT_KMEANS_PARTS_H
#define CALIB_FIT_KMEANS_PARTS_H
#include "kmeans.h"
#include "nearest.h"

/* The points that count, centred and scaled: x = centre + unit * packed value. Weights are divided by the largest. */
typedef struct kmeans_points {
    packed_points p;
    double centre[NEAREST_MAX_DIMS], unit;
    double weight; /* sum of p.w */
    double energy; /* sum of w |x|^2, in packed units */
} kmeans_points;

/* A table [k][dims] as centroids. */
void kmeans_pack(const kmeans_points *points, const float *values, uint32_t k, uint32_t dims, packed_centroids *c);

/* k-means++ start from a subsample of the points: each centroid is the best of a few drawn by w d^2 (greedy).
 * Deterministic in seed and restart. */
kvc_status kmeans_start(const kmeans_options *o, const kmeans_points *points, uint32_t restart, packed_centroids *c,
                        kvc_error *err);

/* One dimension, k <= KMEANS_LINE_MAX: exact where there are few points, else exact over many small bins and then
 * Lloyd's iterations. No randomness. */
#define KMEANS_LINE_MAX 256u
kvc_status kmeans_line(const kmeans_options *o, const kmeans_points *points, packed_centroids *c, double *distortion,
                       kvc_error *err);

/* Rounds the values of a table [k][dims] to what `bytes` asks for (kmeans.h); *distortion: in packed units, out. */
kvc_status kmeans_bytes(backend *b, const kmeans_points *points, uint32_t k, uint32_t dims, float *values,
                        double *distortion, kvc_error *err);
/* The same of n values that no points are known of: cuts none off unless fp16 does. */
void kmeans_round(float *values, size_t n);
#endif
