/* report_text.h - text that grows, HTML's escapes, figures as they are printed, and fields of a document. */
#ifndef CLI_REPORT_TEXT_H
#define CLI_REPORT_TEXT_H
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include "kvc/kvc.h"

typedef struct text {
    char *bytes; /* owned; ends in NUL */
    size_t n, room;
    bool failed; /* out of memory: what follows is dropped */
} text;

/* Knows %s, %d, %zu, %.2f and %%. The format is markup and goes out as it stands; what %s stands for is escaped, for
 * text and for quoted attributes alike. */
void text_put(text *t, const char *format, ...) KVC_PRINTF(2, 3);
void text_put_list(text *t, const char *format, va_list args);
/* Bytes that are markup. */
void text_raw(text *t, const void *bytes, size_t n);

/* A figure as text, to be used at once: text_put(t, "%s", figure_kl(x).s). A dash stands for NaN. */
typedef struct figure {
    char s[48];
} figure;

figure figure_kl(double x);          /* three significant digits: 0.00543, 1.20e-5 */
figure figure_error(double x);       /* two */
figure figure_bits(double x);        /* 3.498 */
figure figure_short(double x);       /* 4.25, 16 */
figure figure_ratio(double x);       /* 1.0050 */
figure figure_share(double x);       /* 0.044, 1.65 */
figure figure_correlation(double x); /* 0.964 */
figure figure_percent(double x);     /* of 1: 97.0 % */
figure figure_bytes(double x);       /* 24.1 MiB */
figure figure_count(double x);       /* 4094 */

/* NaN where there is no such number. */
double doc_number(const json_t *object, const char *key);
/* NULL where there is no such text. Borrowed. */
const char *doc_text(const json_t *object, const char *key);
bool doc_true(const json_t *object, const char *key);
#endif
