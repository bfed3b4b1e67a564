/* table.h - what the files that fit the tables of "vq" and "lut" share. */
#ifndef CALIB_FIT_TABLE_H
#define CALIB_FIT_TABLE_H
#include "order.h"
#include "pieces.h"

#define BYTES_LEAST_DIMS 4u /* shorter tables are small, and one of one channel is exact */

/* One code of a row of one head. */
typedef struct sub_vector {
    uint32_t head, position; /* its first, in the order of its head */
    uint32_t code;           /* its number among those of the side */
} sub_vector;

/* What one table is fitted to. */
typedef struct table_job {
    uint32_t dims, n_parts;
    const sub_vector *parts; /* [n_parts], heads ascending */
    uint16_t *table;         /* [2^bits][dims] */
} table_job;

typedef struct table_head {
    code_classes classes;
    uint32_t first_code; /* among those of the side */
    double weight;       /* mean over the rows */
    double unit;         /* of a squared error beside that of other heads (units.h); 1 where tables mix none */
} table_head;

/* One way to arrange the channels, and what a trial of it found. */
typedef struct table_way {
    uint16_t *order;  /* [H][order_stride] channel at each position */
    float *scales;    /* [n_codes] */
    float *centroids; /* [n_values] like the tables, NULL without a trial */
    double *loss;     /* [n_jobs] weighted errors of all rows, in latent units */
} table_way;

typedef struct table_fit {
    const fit_data *data;
    fit_options options;
    const kvc_coder *coder;
    const float *y;    /* [H][R][d] */
    double *energy;    /* [H][d] weighted mean squares */
    double *spread;    /* [H][d] roots of a third of weighted mean fourth powers: of normal values the energy */
    table_head *heads; /* [H] */
    bool bytes;        /* values of tables for BYTES_LEAST_DIMS and more channels are integers of a byte times a
                          power of two (kmeans_bytes.c) */
    uint32_t n_shared; /* codes of a token that heads share out, 0 where all heads are alike */
    uint32_t n_codes;  /* of a token in the side */
    uint32_t order_stride;
    sub_vector *parts; /* [n_codes] */
    table_job *jobs;
    uint32_t n_jobs;
    uint16_t *tables; /* the first */
    size_t n_values;  /* of all tables */
} table_fit;

/* How many points a job has, at most `most`. */
size_t table_points(const table_fit *t, const table_job *j, size_t most);
/* Its n = table_points() points: sub-vectors of the latent rows over their scales, x [n][dims], and the weights that
 * their squared errors have, w [n]. All of them, or a draw. Both are zero on arrival. */
kvc_status table_gather(const table_fit *t, const table_way *way, const table_job *j, size_t n, float *x, float *w,
                        kvc_error *err);

typedef enum arrangement { BANDS, BALANCED, AS_THEY_ARE } arrangement;
/* Order and scales of a way that has room for them. */
void table_arrange(const table_fit *t, arrangement how, table_way *way);

/* The tables of n fits that have the same latent rows, and the order and scales of the better arrangement to out [n];
 * as they are where the symbol is no vq. */
kvc_status table_run(const table_fit *fits, table_way *out, uint32_t n, kvc_error *err);
#endif
