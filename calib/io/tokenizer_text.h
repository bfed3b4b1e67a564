/* tokenizer_text.h - UTF-8 and character classes for the tokenizer, prompts and chat; private to calib/io. */
#ifndef CALIB_IO_TOKENIZER_TEXT_H
#define CALIB_IO_TOKENIZER_TEXT_H
#include <stdbool.h>
#include "kvc/kvc.h"

typedef struct text_buffer { /* zero-initialise; free(b.bytes) */
    char *bytes;
    size_t n, capacity;
} text_buffer;
bool text_append(text_buffer *b, const void *bytes, size_t n); /* false: out of memory */

/* Length of the well-formed character at s (n > 0 bytes are left) and its code point; 0 if it is malformed.
 */
unsigned utf8_read(const char *s, size_t n, uint32_t *point);
unsigned utf8_write(uint32_t point, char out[4]);
/* Bytes of the malformed sequence at s that one U+FFFD stands for ("maximal subpart", Unicode 3.9). */
unsigned utf8_broken(const char *s, size_t n);
/* Offset of the first malformed byte, or n. */
size_t utf8_check(const char *s, size_t n);

bool char_is_space(uint32_t point);   /* White_Space */
bool char_is_numeric(uint32_t point); /* Nd, Nl, No */
bool char_is_word(uint32_t point);    /* Alphabetic, M, Nd, Pc, Join_Control: \w of UTS 18 */

/* The start of a text for error messages: one line, at most 47 bytes. */
typedef struct text_quote {
    char text[48];
} text_quote;
text_quote quote(const char *s, size_t n);
#endif
