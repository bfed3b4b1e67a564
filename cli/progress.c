/* progress.c - see progress.h. The rate is that of the units the stage works on; the remaining time assumes a steady
 * rate. */
#include "progress.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef enum progress_mode { MODE_NONE, MODE_BAR, MODE_PLAIN, MODE_JSON } progress_mode;

static struct {
    progress_mode mode;
    bool colour, shown;
    char stage[64];
    const char *unit;
    double units;
    double begun, begun_at; /* when the stage was first heard of, and what was done by then */
    double done;
    double last; /* when it was last drawn */
} bar;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static progress_mode automatic(void)
{
    const char *terminal = getenv("TERM");
    bool screen = isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
    return screen ? MODE_BAR : MODE_PLAIN;
}

void progress_open(const char *mode)
{
    const char *no_colour = getenv("NO_COLOR");
    bar.mode = strcmp(mode, "none") == 0    ? MODE_NONE
               : strcmp(mode, "json") == 0  ? MODE_JSON
               : strcmp(mode, "plain") == 0 ? MODE_PLAIN
                                            : automatic();
    bar.colour = bar.mode == MODE_BAR && !(no_colour && *no_colour);
}

void progress_units(const char *unit, double units)
{
    bar.unit = unit;
    bar.units = units;
    bar.stage[0] = '\0'; /* the next report begins a stage, even one of the same name */
}

void progress_hide(void)
{
    if (!bar.shown) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    bar.shown = false;
}

static void put_rate(double part, double seconds)
{
    double rate = bar.units * part / seconds;
    if (bar.units > 0 && seconds > 0.2) fprintf(stderr, "  %.*f %s/s", rate < 10, rate, bar.unit);
}

static void put_remaining(double remaining)
{
    if (!isfinite(remaining)) return;
    long s = lround(remaining);
    fprintf(stderr, s < 60 ? "  %lds left" : "  %ldm %02lds left", s < 60 ? s : s / 60, s % 60);
}

static void draw_bar(double part, double seconds, double speed, double remaining)
{
    enum { WIDTH = 30 };
    int full = (int)(part * WIDTH);
    fputs("\r\033[K", stderr);
    fprintf(stderr, "%-9s %s", bar.stage, bar.colour ? "\033[36m" : "");
    for (int i = 0; i < WIDTH; i++) fputs(i < full ? "#" : "-", stderr);
    fprintf(stderr, "%s %3.0f %%", bar.colour ? "\033[0m" : "", 100 * part);
    put_rate(speed, seconds);
    if (part < 1) put_remaining(remaining);
    bar.shown = true;
    if (part >= 1) {
        putc('\n', stderr);
        bar.shown = false;
    }
}

/* Stages that are over in a moment need no line. */
static void draw_plain(double part, double seconds, double speed, double remaining)
{
    if (seconds < 1) return;
    fprintf(stderr, "%s %.0f %%", bar.stage, 100 * part);
    put_rate(speed, seconds);
    if (part < 1) put_remaining(remaining);
    putc('\n', stderr);
}

static void draw_json(double done, double total, double seconds, double remaining)
{
    fprintf(stderr, "{\"stage\":\"%s\",\"done\":%.9g,\"total\":%.9g,\"seconds\":%.3f", bar.stage, done, total,
            seconds);
    if (isfinite(remaining)) fprintf(stderr, ",\"seconds_left\":%.3f", remaining);
    fputs("}\n", stderr);
}

static double interval(void)
{
    return bar.mode == MODE_BAR ? 0.1 : bar.mode == MODE_JSON ? 1 : 5;
}

void progress_report(void *unused, const char *stage, double done, double total)
{
    (void)unused;
    if (bar.mode == MODE_NONE || !(total > 0)) return;
    double t = now();
    if (strcmp(bar.stage, stage) != 0 || done < bar.done) { /* a stage may come again */
        progress_hide();
        snprintf(bar.stage, sizeof bar.stage, "%s", stage);
        bar.begun = t;
        bar.begun_at = done;
        bar.last = bar.mode == MODE_PLAIN ? t : -INFINITY;
    }
    bar.done = done;
    if (t - bar.last < interval() && done < total) return;
    bar.last = t;
    double seconds = t - bar.begun, here = done - bar.begun_at; /* a resumed stage does not begin at 0 */
    double remaining = here > 0 ? (total - done) * seconds / here : INFINITY;
    if (bar.mode == MODE_BAR) draw_bar(done / total, seconds, here / total, remaining);
    if (bar.mode == MODE_PLAIN) draw_plain(done / total, seconds, here / total, remaining);
    if (bar.mode == MODE_JSON) draw_json(done, total, seconds, remaining);
    fflush(stderr);
}
