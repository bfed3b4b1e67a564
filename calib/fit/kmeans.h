/* kmeans.h - weighted k-means for codebooks. */
#ifndef CALIB_FIT_KMEANS_H
#define CALIB_FIT_KMEANS_H
#include "backend.h"

typedef struct kmeans_options {
    uint32_t k, dims; /* centroids, at most 4096; values of a point, 1 .. 16 */
    uint32_t iterations, restarts;
    uint64_t seed;
    const float *start; /* [k][dims] for the first restart, NULL: k-means++ as for the others; borrowed */
    bool bytes;         /* the table has integers of -127 .. 127 times one power of two, all of which fp16 has */
} kmeans_options;

/*  x         [n][dims]  in
 *  w         [n]        in, >= 0; points of weight 0 count for nothing
 *  centroids [k][dims]  out, all finite; sorted so that equal inputs give equal tables
 *  *distortion          out: sum of w |x - centroid|^2 / sum of w
 * k-means++ start, Lloyd's iterations by the backend, empty clusters take the point that costs most. Fewer distinct
 * points than k: the rest repeat the last, and *distortion is 0, `bytes` or not. Fixed partitions and order of sums:
 * threads change nothing. */
kvc_status kmeans(backend *b, const kmeans_options *o, size_t n, const float *x, const float *w, float *centroids,
                  double *distortion, kvc_error *err);

/* Whether the result is exact (kmeans_line.c) and takes no iterations of the backend's. */
bool kmeans_is_exact(uint32_t k, uint32_t dims);

/* The same for several tables at a time: begin each, by any thread, which is all of the host's work; solve all by the
 * backend; end each, by any thread. */
typedef struct kmeans_task kmeans_task;
kvc_status kmeans_begin(kmeans_task **out, const kmeans_options *o, size_t n, const float *x, const float *w,
                        kvc_error *err); /* x and w are read here alone */
kvc_status kmeans_solve(backend *b, kmeans_task *const *tasks, uint32_t n, kvc_error *err);
void kmeans_end(const kmeans_task *t, float *centroids, double *distortion);
void kmeans_free(kmeans_task *t); /* NULL is fine */
#endif
