#include "utf8_stream.h"
#include <stdbool.h>

/* Bytes of the character that a lead byte announces; 0: no lead byte. */
static size_t length_of(unsigned char lead)
{
    if (lead < 0x80) return 1;
    if (lead >= 0xc2 && lead <= 0xdf) return 2;
    if (lead >= 0xe0 && lead <= 0xef) return 3;
    return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/* Whether `b` may follow the n bytes held (n >= 1): no overlong forms, surrogates or values above U+10FFFF. */
static bool may_follow(const unsigned char *held, size_t n, unsigned char b)
{
    unsigned char least = 0x80, most = 0xbf;
    if (n == 1 && held[0] == 0xe0) least = 0xa0;
    if (n == 1 && held[0] == 0xed) most = 0x9f;
    if (n == 1 && held[0] == 0xf0) least = 0x90;
    if (n == 1 && held[0] == 0xf4) most = 0x8f;
    return b >= least && b <= most;
}

void utf8_end(utf8_stream *s)
{
    if (s->n_held) fputs("\xef\xbf\xbd", s->out);
    s->n_held = 0;
}

static void put_byte(utf8_stream *s, unsigned char b)
{
    if (s->n_held && !may_follow(s->held, s->n_held, b)) utf8_end(s);
    if (s->n_held == 0 && length_of(b) == 0) {
        fputs("\xef\xbf\xbd", s->out);
        return;
    }
    s->held[s->n_held++] = b;
    if (s->n_held < length_of(s->held[0])) return;
    fwrite(s->held, 1, s->n_held, s->out);
    s->n_held = 0;
}

void utf8_put(utf8_stream *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) put_byte(s, (unsigned char)bytes[i]);
}
