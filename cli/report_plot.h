/* report_plot.h - one plot as SVG that takes whatever width it gets: all places are percentages of the area between
 * the axes, so that text and markers keep their size and lines are stretched without their strokes. */
#ifndef CLI_REPORT_PLOT_H
#define CLI_REPORT_PLOT_H
#include "report_axis.h"
#include "report_text.h"

enum { PLOT_STYLES = 8 };

typedef struct plot {
    text *out;
    axis x, y;
} plot;

typedef struct plot_point {
    double x, y;
} plot_point;

/* The figure, grid and ticks. `style` below: colour and shape, less than PLOT_STYLES. A point with a NaN is not
 * drawn. */
void plot_begin(const plot *p, const char *description, const char *x_title, const char *y_title);
void plot_end(const plot *p);
void plot_line(const plot *p, int style, const plot_point *points, size_t n);
/* Through all points (v, v): both axes are alike. */
void plot_diagonal(const plot *p);
void plot_error(const plot *p, int style, plot_point at, double error);
/* The title, as for text_put(), is what a pointer that rests on the marker sees. */
void plot_mark(const plot *p, int style, bool hollow, plot_point at, const char *title, ...) KVC_PRINTF(5, 6);
/* A ring around the point, with a label beside it. */
void plot_choose(const plot *p, plot_point at, const char *label);

/* For the legend: a piece of a line, the ring, a marker. */
void plot_sample_line(text *out, int style);
void plot_sample_chosen(text *out);
void plot_sample_mark(text *out, int style, bool hollow);
#endif
