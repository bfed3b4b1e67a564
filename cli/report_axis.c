/* report_axis.c - see report_axis.h. */
#include "report_axis.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST_DECADES 7
#define MOST_LABELS 6

range range_none(void)
{
    return (range){NAN, NAN};
}

void range_take(range *r, double value)
{
    r->low = fmin(r->low, value); /* fmin and fmax pass over NaN */
    r->high = fmax(r->high, value);
}

void range_take_positive(range *r, double value)
{
    if (value > 0) range_take(r, value);
}

static double scaled(const axis *a, double value)
{
    return a->base > 0 ? log(value) / log(a->base) : value;
}

axis axis_fit(axis_kind kind, range r)
{
    axis a = {.kind = kind, .base = 10};
    if (isnan(r.low)) r = kind == AXIS_BITS ? (range){0, 16} : (range){0.001, 1};
    if (kind == AXIS_BITS) a.base = r.low > 0 && r.high > 3 * r.low ? 2 : 0;
    a.low = scaled(&a, r.low);
    a.high = scaled(&a, r.high);
    if (kind != AXIS_BITS) a.low = fmax(a.low, a.high - MOST_DECADES);
    double margin = fmax(0.05 * (a.high - a.low), a.base > 0 ? 0.1 : 0.1 + 1e-9 * fabs(a.high));
    a.low -= margin;
    a.high += margin;
    return a;
}

double axis_place(const axis *a, double value)
{
    if (a->base > 0 && !(value > 0)) return 0;
    return fmin(fmax((scaled(a, value) - a->low) / (a->high - a->low), 0), 1);
}

/* `step`: the distance to the neighbours, or the value itself; its digits are what a ratio needs. */
static void set_label(tick *t, const axis *a, double value, double step)
{
    int decimals = (int)fmin(fmax(-floor(log10(step) + 1e-9), 0), 9);
    if (a->kind == AXIS_EXCESS)
        snprintf(t->label, sizeof t->label, "%.*f", decimals, 1 + value);
    else
        snprintf(t->label, sizeof t->label, value < 0.9e-3 && a->base > 0 ? "%.0e" : "%.10g", value);
    char *zero = strstr(t->label, "e-0"); /* 1e-04 */
    if (zero) memmove(zero + 2, zero + 3, strlen(zero + 3) + 1);
}

static size_t add(tick *ticks, size_t n, const axis *a, double value, double step)
{
    double place = axis_place(a, value);
    if (n == MAX_TICKS || place <= 0 || place >= 1) return n;
    ticks[n] = (tick){.place = place};
    if (step > 0) set_label(&ticks[n], a, value, step);
    return n + 1;
}

/* 1, 2 or 5 times a power of ten. */
static double round_step(double least)
{
    double unit = pow(10, floor(log10(least)));
    return least <= unit ? unit : least <= 2 * unit ? 2 * unit : least <= 5 * unit ? 5 * unit : 10 * unit;
}

static size_t linear_ticks(const axis *a, tick *ticks)
{
    size_t n = 0;
    double step = round_step((a->high - a->low) / MOST_LABELS);
    for (double k = ceil(a->low / step); k * step < a->high && n < MAX_TICKS; k++)
        n = add(ticks, n, a, k * step, step);
    return n;
}

/* Between powers of ten lines at 2 to 9, with labels at 2 and 5 where there is room; between those of two at 1.5. */
static size_t between(const axis *a, tick *ticks, size_t n, double power)
{
    double powers = a->high - a->low;
    if (a->base == 2) return add(ticks, n, a, 1.5 * power, 1.5 * power);
    for (int digit = 2; digit < 10; digit++)
        n = add(ticks, n, a, digit * power, powers < 2.2 && (digit == 2 || digit == 5) ? power : 0);
    return n;
}

static size_t power_ticks(const axis *a, tick *ticks)
{
    size_t n = 0;
    double powers = a->high - a->low, every = fmax(1, ceil(powers / MOST_LABELS));
    for (double k = floor(a->low / every) * every; k <= a->high; k += every) {
        double value = pow(a->base, k);
        n = add(ticks, n, a, value, value);
        if (every == 1 && (a->base == 10 || powers < 4)) n = between(a, ticks, n, value);
    }
    return n;
}

size_t axis_ticks(const axis *a, tick ticks[MAX_TICKS])
{
    return a->base > 0 ? power_ticks(a, ticks) : linear_ticks(a, ticks);
}
