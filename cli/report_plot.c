/* report_plot.c - see report_plot.h. The outer <svg> is the area between the axes, with its overflow visible for what
 * stands outside: ticks to the left and below. */
#include "report_plot.h"
#include <math.h>

/* Paths about the middle, some 9 pixels wide. */
static const char *const shapes[PLOT_STYLES] = {
    "M-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0-8.4 0z",    /* circle */
    "M0-5.6 5.6 0 0 5.6-5.6 0z",                           /* diamond */
    "M-3.8-3.8H3.8V3.8H-3.8z",                             /* square */
    "M0-5.2 5 3.6H-5z",                                    /* triangle */
    "M0 5.2 5-3.6H-5z",                                    /* its mirror image */
    "M-1.6-5H1.6V-1.6H5V1.6H1.6V5H-1.6V1.6H-5V-1.6H-1.6z", /* plus */
    "M-4.6-2.4-2.4-4.6 0-2.2 2.4-4.6 4.6-2.4 2.2 0 4.6 2.4 2.4 4.6 0 2.2-2.4 4.6-4.6 2.4-2.2 0z", /* cross */
    "M-2.6-4.6H2.6L5.2 0 2.6 4.6H-2.6L-5.2 0z",                                                   /* hexagon */
};

static double across(const plot *p, double x)
{
    return 100 * axis_place(&p->x, x);
}

static double down(const plot *p, double y)
{
    return 100 - 100 * axis_place(&p->y, y);
}

static bool drawable(plot_point at)
{
    return !isnan(at.x) && !isnan(at.y);
}

static void put_ticks_x(const plot *p)
{
    tick ticks[MAX_TICKS];
    size_t n = axis_ticks(&p->x, ticks);
    for (size_t i = 0; i < n; i++) {
        double x = 100 * ticks[i].place;
        text_put(p->out, "<line class=\"%s\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"0\" y2=\"100%%\"/>\n",
                 *ticks[i].label ? "grid" : "grid minor", x, x);
        if (*ticks[i].label)
            text_put(p->out, "<text x=\"%.2f%%\" y=\"100%%\" dy=\"17\" text-anchor=\"middle\">%s</text>\n", x,
                     ticks[i].label);
    }
}

static void put_ticks_y(const plot *p)
{
    tick ticks[MAX_TICKS];
    size_t n = axis_ticks(&p->y, ticks);
    for (size_t i = 0; i < n; i++) {
        double y = 100 - 100 * ticks[i].place;
        text_put(p->out, "<line class=\"%s\" x1=\"0\" x2=\"100%%\" y1=\"%.2f%%\" y2=\"%.2f%%\"/>\n",
                 *ticks[i].label ? "grid" : "grid minor", y, y);
        if (*ticks[i].label)
            text_put(p->out, "<text x=\"-8\" y=\"%.2f%%\" dy=\"4\" text-anchor=\"end\">%s</text>\n", y,
                     ticks[i].label);
    }
}

void plot_begin(const plot *p, const char *description, const char *x_title, const char *y_title)
{
    text_put(p->out, "<div class=\"plot\"><p class=\"unit\">%s</p>\n<svg role=\"img\" aria-label=\"%s\">\n", y_title,
             description);
    put_ticks_x(p);
    put_ticks_y(p);
    text_put(p->out,
             "<rect class=\"frame\" width=\"100%%\" height=\"100%%\"/>\n"
             "<text x=\"100%%\" y=\"100%%\" dy=\"36\" text-anchor=\"end\">%s</text>\n",
             x_title);
}

void plot_end(const plot *p)
{
    text_put(p->out, "</svg></div>\n");
}

static void begin_path(const plot *p)
{
    text_put(p->out, "<svg class=\"stretch\" width=\"100%%\" height=\"100%%\" viewBox=\"0 0 100 100\" "
                     "preserveAspectRatio=\"none\"><path ");
}

void plot_line(const plot *p, int style, const plot_point *points, size_t n)
{
    const char *step = "M";
    begin_path(p);
    text_put(p->out, "class=\"line s%d\" d=\"", style);
    for (size_t i = 0; i < n; i++) {
        if (!drawable(points[i])) continue;
        text_put(p->out, "%s%.2f %.2f", step, across(p, points[i].x), down(p, points[i].y));
        step = " ";
    }
    text_put(p->out, "\"/></svg>\n");
}

void plot_diagonal(const plot *p)
{
    begin_path(p);
    text_put(p->out, "class=\"diagonal\" d=\"M0 100 100 0\"/></svg>\n");
}

void plot_error(const plot *p, int style, plot_point at, double error)
{
    if (!drawable(at) || !(error > 0)) return;
    double x = across(p, at.x);
    text_put(p->out, "<line class=\"error s%d\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%.2f%%\" y2=\"%.2f%%\"/>\n", style,
             x, x, down(p, at.y - error), down(p, at.y + error));
}

static void put_shape(text *out, int style, bool hollow)
{
    text_put(out, "<path class=\"%s s%d\" d=\"%s\"/>", hollow ? "hollow" : "mark", style, shapes[style]);
}

void plot_mark(const plot *p, int style, bool hollow, plot_point at, const char *title, ...)
{
    va_list args;
    if (!drawable(at)) return;
    va_start(args, title);
    text_put(p->out, "<svg class=\"at\" x=\"%.2f%%\" y=\"%.2f%%\"><title>", across(p, at.x), down(p, at.y));
    text_put_list(p->out, title, args);
    text_put(p->out, "</title>");
    put_shape(p->out, style, hollow);
    text_put(p->out, "</svg>\n");
    va_end(args);
}

/* Fronts fall to the right, and nothing lies below the best: that is where the label goes. */
void plot_choose(const plot *p, plot_point at, const char *label)
{
    if (!drawable(at)) return;
    double x = across(p, at.x), y = down(p, at.y);
    bool left = x > 30 && y < 90;
    text_put(p->out, "<svg class=\"at\" x=\"%.2f%%\" y=\"%.2f%%\"><circle class=\"chosen\" r=\"9\"/>", x, y);
    text_put(p->out, "<text class=\"chosen\" x=\"%d\" y=\"%d\" text-anchor=\"%s\">%s</text></svg>\n", left ? -9 : 9,
             left ? 19 : -11, left || x > 80 ? "end" : "start", label);
}

void plot_sample_line(text *out, int style)
{
    text_put(out, "<svg class=\"key\" viewBox=\"-12 -8 24 16\"><path class=\"line s%d\" d=\"M-12 0H12\"/></svg>",
             style);
}

void plot_sample_chosen(text *out)
{
    text_put(out, "<svg class=\"key\" viewBox=\"-12 -8 24 16\"><circle class=\"chosen\" r=\"6.5\"/></svg>");
}

void plot_sample_mark(text *out, int style, bool hollow)
{
    text_put(out, "<svg class=\"key\" viewBox=\"-12 -8 24 16\">");
    put_shape(out, style, hollow);
    text_put(out, "</svg>");
}
