/* console.h - the only code that writes to standard output and error: messages, progress, and whether they could be
 * written. Messages go to stderr as "kvcalib: ..." and, whatever the verbosity, into --log-file. Results go to
 * stdout. */
#ifndef CLI_CONSOLE_H
#define CLI_CONSOLE_H
#include <stdbool.h>
#include "job.h"
#include "settings.h"

/* Opens the log file. Call once, after parsing. */
kvc_status console_open(const settings *s, kvc_error *err);
void console_error(const char *message);
void console_note(const char *format, ...) KVC_PRINTF(1, 2);   /* unless -q */
void console_detail(const char *format, ...) KVC_PRINTF(1, 2); /* with -v */
/* With -v: what took the time since the last call, or since the start. */
void console_lap(const char *what);
/* Flush standard output: a full disk or a closed pipe is KVC_IO. */
kvc_status console_flush(kvc_error *err);
void console_close(void);

/* The job that long work reports to: progress is drawn, and SIGINT or SIGTERM cancels it. */
const job *console_job(void);
/* Progress of the stages that follow is about `units` (tokens, bytes); 0: only parts of the whole are known. */
void console_units(const char *unit, double units);
#endif
