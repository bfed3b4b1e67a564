/* report_axis.h - the axes of a plot: what range they span, where a value lies, and what their ticks say. */
#ifndef CLI_REPORT_AXIS_H
#define CLI_REPORT_AXIS_H
#include <stdbool.h>
#include <stddef.h>

/* AXIS_EXCESS: values are ratios less one, and ticks are labelled as ratios. */
typedef enum axis_kind { AXIS_BITS, AXIS_LOSS, AXIS_EXCESS } axis_kind;

/* The values that an axis has to show; NaN: none yet. */
typedef struct range {
    double low, high;
} range;

typedef struct axis {
    axis_kind kind;
    double base;      /* ticks at powers of it, distances by its logarithm; 0: linear */
    double low, high; /* of the value, or of its logarithm */
} axis;

enum { MAX_TICKS = 128 };

typedef struct tick {
    double place;
    char label[24]; /* "": a line of the grid alone */
} tick;

range range_none(void);
void range_take(range *r, double value); /* NaN is passed over */
/* Only what a logarithm can show. */
void range_take_positive(range *r, double value);

/* Bits are linear, or in powers of two where they differ much. Losses and excesses are in powers of ten, over seven
 * of them at most, those of the largest values; `r` is positive then. */
axis axis_fit(axis_kind kind, range r);
/* Between 0 at the low end and 1 at the high one, where values beyond them are put. */
double axis_place(const axis *a, double value);
/* In rising order; returns their number. */
size_t axis_ticks(const axis *a, tick ticks[MAX_TICKS]);
#endif
