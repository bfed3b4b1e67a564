#include "tokenizer_text.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

bool text_append(text_buffer *b, const void *bytes, size_t n)
{
    if (n > b->capacity - b->n) {
        size_t capacity = b->capacity + b->capacity / 2 + n + 64;
        char *larger = realloc(b->bytes, capacity);
        if (!larger) return false;
        b->bytes = larger;
        b->capacity = capacity;
    }
    if (n) memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
    return true;
}

/* Unicode 3.9, table 3-7: the lead byte decides the length and the range of the second byte. */
typedef struct lead {
    uint8_t length, low, high, bits;
} lead;

static lead lead_of(unsigned char c)
{
    if (c < 0x80) return (lead){1, 0, 0, c};
    if (c < 0xc2 || c > 0xf4) return (lead){0, 0, 0, 0};
    if (c < 0xe0) return (lead){2, 0x80, 0xbf, c & 0x1f};
    if (c < 0xf0) return (lead){3, c == 0xe0 ? 0xa0 : 0x80, c == 0xed ? 0x9f : 0xbf, c & 0x0f};
    return (lead){4, c == 0xf0 ? 0x90 : 0x80, c == 0xf4 ? 0x8f : 0xbf, c & 0x07};
}

/* How many bytes at s fit the sequence that the lead byte opens, the lead byte included. */
static unsigned fitting(lead l, const unsigned char *s, size_t n)
{
    unsigned k = 1;
    while (k < l.length && k < n && s[k] >= (k == 1 ? l.low : 0x80) && s[k] <= (k == 1 ? l.high : 0xbf)) k++;
    return k;
}

unsigned utf8_read(const char *text, size_t n, uint32_t *point)
{
    const unsigned char *s = (const unsigned char *)text;
    lead l = lead_of(s[0]);
    if (l.length == 0 || fitting(l, s, n) < l.length) return 0;
    uint32_t value = l.bits;
    for (unsigned k = 1; k < l.length; k++) value = value << 6 | (s[k] & 0x3f);
    *point = value;
    return l.length;
}

unsigned utf8_write(uint32_t point, char out[4])
{
    return (unsigned)utf8proc_encode_char((utf8proc_int32_t)point, (utf8proc_uint8_t *)out);
}

unsigned utf8_broken(const char *s, size_t n)
{
    lead l = lead_of((unsigned char)s[0]);
    return l.length == 0 ? 1 : fitting(l, (const unsigned char *)s, n);
}

size_t utf8_check(const char *s, size_t n)
{
    uint32_t point;
    for (size_t i = 0; i < n;) {
        unsigned k = (unsigned char)s[i] < 0x80 ? 1 : utf8_read(s + i, n - i, &point);
        if (k == 0) return i;
        i += k;
    }
    return n;
}

bool char_is_space(uint32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

bool char_is_numeric(uint32_t c)
{
    if (c < 0x80) return c >= '0' && c <= '9';
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

/* Alphabetic is L, Nl and Other_Alphabetic; the latter is marks, which count anyway, and these enclosed
 * letters. */
static bool is_enclosed_letter(uint32_t c)
{
    return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
           (c >= 0x1f170 && c <= 0x1f189);
}

bool char_is_word(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return c == 0x200c || c == 0x200d || is_enclosed_letter(c);
    }
}

text_quote quote(const char *s, size_t n)
{
    text_quote q;
    size_t used = 0;
    uint32_t point;
    for (size_t i = 0; i < n;) {
        unsigned k = utf8_read(s + i, n - i, &point);
        if (used + (k ? k : 1) > sizeof q.text - 4) {
            memcpy(q.text + used, "...", 3);
            used += 3;
            break;
        }
        if (k == 0 || point < 0x20 || point == 0x7f) {
            q.text[used++] = '?';
            i += k ? k : 1;
        } else {
            memcpy(q.text + used, s + i, k);
            used += k;
            i += k;
        }
    }
    q.text[used] = '\0';
    return q;
}
