/* progress.h - one stage's progress on stderr: a bar on a terminal, a line now and then elsewhere, or JSON lines. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H
#include <stdbool.h>

/* mode: auto, plain, json, none */
void progress_open(const char *mode);
void progress_units(const char *unit, double units);
void progress_report(void *unused, const char *stage, double done, double total);
/* Take the bar off the screen before another line is written. */
void progress_hide(void);
#endif
