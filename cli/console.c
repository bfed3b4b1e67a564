/* console.c - see console.h. */
#include "console.h"
#include "progress.h"
#include "signals.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct {
    bool quiet, verbose;
    FILE *log;
    struct timespec lap;
} console;

kvc_status console_open(const settings *s, kvc_error *err)
{
    console.quiet = s->quiet;
    console.verbose = s->verbose;
    clock_gettime(CLOCK_MONOTONIC, &console.lap);
    progress_open(s->quiet ? "none" : s->progress);
    if (!s->log_file) return KVC_OK;
    console.log = fopen(s->log_file, "a");
    if (!console.log) return kvc_fail(err, KVC_IO, "%s: cannot be written: %s", s->log_file, strerror(errno));
    setvbuf(console.log, NULL, _IOLBF, 0);
    return KVC_OK;
}

static void put_line(bool shown, const char *message)
{
    if (shown) {
        progress_hide();
        fflush(stdout);
        fprintf(stderr, "kvcalib: %s\n", message);
    }
    if (console.log) fprintf(console.log, "%s\n", message);
}

void console_error(const char *message)
{
    put_line(true, message);
}

void console_note(const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    put_line(!console.quiet, message);
}

void console_detail(const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    put_line(console.verbose && !console.quiet, message);
}

void console_lap(const char *what)
{
    struct timespec before = console.lap;
    clock_gettime(CLOCK_MONOTONIC, &console.lap);
    console_detail("time: %s %.2f s", what,
                   (double)(console.lap.tv_sec - before.tv_sec) +
                       1e-9 * (double)(console.lap.tv_nsec - before.tv_nsec));
}

kvc_status console_flush(kvc_error *err)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return KVC_OK;
    return kvc_fail(err, KVC_IO, "standard output cannot be written: %s", strerror(errno ? errno : EIO));
}

void console_close(void)
{
    progress_hide();
    if (console.log) fclose(console.log);
    console.log = NULL;
}

const job *console_job(void)
{
    static const job shared = {.progress = progress_report, .cancelled = signals_cancelled};
    return &shared;
}

void console_units(const char *unit, double units)
{
    progress_units(unit, units);
}
