/* utf8_stream.h - bytes of tokens to standard output as UTF-8: a character that is not complete waits for the next
 * token, what can never become one is U+FFFD. */
#ifndef CLI_UTF8_STREAM_H
#define CLI_UTF8_STREAM_H
#include <stddef.h>
#include <stdio.h>

typedef struct utf8_stream {
    FILE *out;
    unsigned char held[4];
    size_t n_held;
} utf8_stream;

void utf8_put(utf8_stream *s, const char *bytes, size_t n);
void utf8_end(utf8_stream *s); /* what still waits is U+FFFD */
#endif
