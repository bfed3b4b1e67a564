/* tokenizer_regex.c - Oniguruma patterns (Ruby syntax, UTF-8), as Hugging Face files hold them, rewritten for
 * PCRE2.
 *
 * The two read most of a pattern alike. Where they do not, the construct is rewritten:
 *     \s  \S      the 25 characters of White_Space (PCRE2 counts U+180E, too)
 *     \d  \w      \p{Nd}; Alphabetic, M, Nd, Pc (PCRE2 10.42 lacks M and Pc)
 *     \p{Han}     \p{sc:Han}: the script proper (PCRE2 means script extensions)
 *     \v          U+000B (PCRE2: any vertical space)
 *     ( )         (?: ): nothing refers to captures
 * or, where a rewrite is not at hand or the two may disagree, refused by name with its offset: anchors other
 * than ^ and $, back references, \b, inline flags other than (?i:, properties inside (?i:, nested classes and
 * &&, {,n}, {n}? and {n}+. To be compiled with UTF, UCP, MULTILINE (Ruby's ^ and $) and newline LF. */
#include "tokenizer_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPACE_RANGES                                                                                                 \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{"         \
    "3000}"
#define OTHER_RANGES                                                                                                 \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"                  \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
#define WORD_SET "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"

enum { NESTING_MAX = 64, PATTERN_MAX = 16384 };

typedef struct rewriter {
    const char *p;
    size_t n, at;
    text_buffer *out;
    const field *where;
    kvc_error *err;
    bool caseless[NESTING_MAX + 1];
    unsigned depth;
    bool repeatable; /* a quantifier may follow */
    bool failed_memory;
} rewriter;

static void put(rewriter *r, const char *text)
{
    if (!text_append(r->out, text, strlen(text))) r->failed_memory = true;
}

static void put_point(rewriter *r, uint32_t point)
{
    char text[16];
    snprintf(text, sizeof text, "\\x{%x}", point);
    put(r, text);
}

static char peek(const rewriter *r, size_t ahead)
{
    return r->at + ahead < r->n ? r->p[r->at + ahead] : '\0';
}

static bool follows(const rewriter *r, const char *text)
{
    size_t n = strlen(text);
    return r->n - r->at >= n && !memcmp(r->p + r->at, text, n);
}

static kvc_status refuse(const rewriter *r, size_t at, const char *why)
{
    size_t n = r->n - at < 12 ? r->n - at : 12;
    return field_fail(r->where, KVC_UNSUPPORTED, r->err, "the regular expression has %s at offset %zu ('%s')", why,
                      at, quote(r->p + at, n).text);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* ---- escapes
 * ------------------------------------------------------------------------------------------------- */

static bool is_category(const char *name, size_t n)
{
    static const char *const all =
        " L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl "
        "Zp C Cc Cf Cn Co Cs ";
    char key[5] = " ";
    if (n == 0 || n > 2) return false;
    memcpy(key + 1, name, n);
    key[n + 1] = ' ';
    return strstr(all, key);
}

/* \p{Name}, \P{Name}, \p{^Name}. The cursor is on the p. */
static kvc_status property(rewriter *r)
{
    size_t start = r->at - 1;
    bool negated = r->p[r->at] == 'P';
    char text[64];
    if (r->caseless[r->depth]) return refuse(r, start, "a property under (?i:");
    if (peek(r, 1) != '{') return refuse(r, start, "a property without braces");
    r->at += 2;
    if (peek(r, 0) == '^') negated = !negated, r->at++;
    size_t n = 0;
    while (is_letter(peek(r, n)) || peek(r, n) == '_') n++;
    if (n == 0 || n > 40 || peek(r, n) != '}') return refuse(r, start, "an unknown property");
    snprintf(text, sizeof text, "\\%c{%s%.*s}", negated ? 'P' : 'p',
             is_category(r->p + r->at, n) ? "" : "sc:", (int)n, r->p + r->at);
    put(r, text);
    r->at += n + 1;
    return KVC_OK;
}

/* \xH, \xHH (below 80), \x{H...}, \uHHHH. The cursor is on the x or u. */
static kvc_status code_point(rewriter *r, uint32_t *point)
{
    size_t start = r->at - 1, digits = 0;
    bool braces = r->p[r->at] == 'x' && peek(r, 1) == '{';
    size_t most = braces ? 8 : r->p[r->at] == 'x' ? 2 : 4;
    uint64_t value = 0;
    r->at += braces ? 2 : 1;
    for (; digits < most && r->at < r->n && strchr("0123456789abcdefABCDEF", r->p[r->at]); digits++, r->at++) {
        char c = r->p[r->at];
        value = value * 16 + (uint64_t)(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    bool ok =
        digits > 0 && (!braces || peek(r, 0) == '}') && (most != 4 || digits == 4) && (most != 2 || value < 0x80);
    if (!ok || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return refuse(r, start, "a bad code point");
    r->at += braces;
    *point = (uint32_t)value;
    return KVC_OK;
}

static bool control_escape(char c, uint32_t *point)
{
    static const char names[] = "rntfvae", values[] = "\r\n\t\f\v\a\x1b";
    const char *found = c ? strchr(names, c) : NULL;
    if (found) *point = (uint32_t)values[found - names];
    return found;
}

static bool is_set_escape(char c)
{
    return c && strchr("sSdDwWpP", c);
}

/* An escape for one character. The cursor is behind the backslash. */
static kvc_status single_escape(rewriter *r, uint32_t *point)
{
    char c = peek(r, 0);
    if (c == 'x' || c == 'u') return code_point(r, point);
    if (!control_escape(c, point)) {
        if (c <= ' ' || c > '~' || is_letter(c) || is_digit(c)) return refuse(r, r->at - 1, "an unknown escape");
        *point = (uint32_t)c;
    }
    r->at++;
    return KVC_OK;
}

/* An escape for a set of characters, in a class or alone. */
static kvc_status set_escape(rewriter *r, bool in_class)
{
    char c = r->p[r->at];
    if (c == 'p' || c == 'P') return property(r);
    if (r->caseless[r->depth] && (c == 'w' || c == 'W')) return refuse(r, r->at - 1, "\\w under (?i:");
    if (in_class && c == 'W') return refuse(r, r->at - 1, "\\W in a class");
    if (!in_class) put(r, c == 'W' ? "[^" : "[");
    put(r, c == 's'   ? SPACE_RANGES
           : c == 'S' ? OTHER_RANGES
           : c == 'd' ? "\\p{Nd}"
           : c == 'D' ? "\\P{Nd}"
                      : WORD_SET);
    if (!in_class) put(r, "]");
    r->at++;
    return KVC_OK;
}

/* ---- classes
 * ------------------------------------------------------------------------------------------------- */

typedef enum class_state { AFTER_SET, AFTER_CHAR, IN_RANGE } class_state;

static kvc_status class_dash(rewriter *r, class_state *state)
{
    if (peek(r, 1) == '-') return refuse(r, r->at, "'--' in a class");
    r->at++;
    if (*state == AFTER_CHAR && peek(r, 0) != ']') {
        put(r, "-");
        *state = IN_RANGE;
    } else {
        put(r, "\\-");
        *state = AFTER_SET;
    }
    return KVC_OK;
}

static kvc_status class_item(rewriter *r, class_state *state)
{
    uint32_t point;
    if (peek(r, 0) == '-') return class_dash(r, state);
    if (peek(r, 0) == '[') return refuse(r, r->at, "a class in a class");
    if (follows(r, "&&")) return refuse(r, r->at, "an intersection of classes");
    if (peek(r, 0) == '\\') {
        r->at++;
        if (is_set_escape(peek(r, 0))) {
            if (*state == IN_RANGE) return refuse(r, r->at - 1, "a range that ends in a set");
            *state = AFTER_SET;
            return set_escape(r, true);
        }
        KVC_TRY(single_escape(r, &point));
    } else {
        r->at += utf8_read(r->p + r->at, r->n - r->at, &point);
    }
    put_point(r, point);
    *state = *state == IN_RANGE ? AFTER_SET : AFTER_CHAR;
    return KVC_OK;
}

static kvc_status char_class(rewriter *r)
{
    size_t start = r->at++;
    class_state state = AFTER_SET;
    put(r, "[");
    if (peek(r, 0) == '^') put(r, "^"), r->at++;
    if (peek(r, 0) == ']') return refuse(r, start, "a class that begins with ]");
    while (r->at < r->n && peek(r, 0) != ']') KVC_TRY(class_item(r, &state));
    if (r->at == r->n) return refuse(r, start, "a class without its ]");
    r->at++;
    put(r, "]");
    r->repeatable = true;
    return KVC_OK;
}

/* ---- groups and quantifiers
 * ---------------------------------------------------------------------------------- */

static kvc_status open_group(rewriter *r)
{
    static const char *const kinds[] = {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
    size_t i = 0, n_kinds = sizeof kinds / sizeof *kinds;
    if (r->depth == NESTING_MAX) return refuse(r, r->at, "groups nested too deep");
    while (i < n_kinds && !follows(r, kinds[i])) i++;
    if (i == n_kinds && (peek(r, 1) == '?' || peek(r, 1) == '*')) return refuse(r, r->at, "an unknown group");
    r->caseless[r->depth + 1] = r->caseless[r->depth] || i == 1;
    r->depth++;
    r->at += i < n_kinds ? strlen(kinds[i]) : 1;
    put(r, i < n_kinds ? kinds[i] : "(?:");
    r->repeatable = false;
    return KVC_OK;
}

static kvc_status close_group(rewriter *r)
{
    if (r->depth == 0) return refuse(r, r->at, "a ) too many");
    r->depth--;
    r->at++;
    put(r, ")");
    r->repeatable = true;
    return KVC_OK;
}

/* {n}, {n,} or {n,m}; 0 if it is none of them. */
static size_t interval_length(const rewriter *r)
{
    size_t n = 1, digits = 0;
    for (; is_digit(peek(r, n)); n++) digits++;
    if (digits == 0) return 0;
    if (peek(r, n) == ',')
        for (n++; is_digit(peek(r, n));) n++;
    return peek(r, n) == '}' ? n + 1 : 0;
}

static kvc_status quantifier(rewriter *r)
{
    size_t start = r->at;
    bool interval = r->p[r->at] == '{';
    size_t n = interval ? interval_length(r) : 1;
    if (!r->repeatable) return refuse(r, start, "a quantifier with nothing to repeat");
    if (n == 0) return refuse(r, start, "a { that is no quantifier");
    if (n > 14) return refuse(r, start, "a quantifier out of range");
    char after = peek(r, n);
    if (interval && (after == '?' || after == '+')) return refuse(r, start, "an interval with a suffix");
    if (after == '?' || after == '+') n++; /* lazy, possessive */
    char text[17] = {0};
    memcpy(text, r->p + start, n);
    put(r, text);
    r->at += n;
    r->repeatable = false;
    return KVC_OK;
}

/* ---- the pattern
 * --------------------------------------------------------------------------------------------- */

static kvc_status literal(rewriter *r)
{
    uint32_t point;
    if (peek(r, 0) == '\\') {
        r->at++;
        if (is_set_escape(peek(r, 0))) return set_escape(r, false);
        KVC_TRY(single_escape(r, &point));
    } else {
        r->at += utf8_read(r->p + r->at, r->n - r->at, &point);
    }
    put_point(r, point);
    return KVC_OK;
}

static kvc_status element(rewriter *r)
{
    char c = r->p[r->at];
    switch (c) {
    case '(': return open_group(r);
    case ')': return close_group(r);
    case '[': return char_class(r);
    case '*':
    case '+':
    case '?':
    case '{': return quantifier(r);
    case '|':
    case '^':
    case '$':
    case '.': {
        r->at++;
        put(r, (const char[]){c, '\0'});
        r->repeatable = c == '.';
        return KVC_OK;
    }
    default: r->repeatable = true; return literal(r);
    }
}

kvc_status regex_translate(text_buffer *out, const char *pattern, size_t n, const field *where, kvc_error *err)
{
    rewriter r = {.p = pattern, .n = n, .out = out, .where = where, .err = err};
    if (n == 0) return field_fail(where, KVC_UNSUPPORTED, err, "the regular expression is empty");
    if (n > PATTERN_MAX)
        return field_fail(where, KVC_UNSUPPORTED, err, "the regular expression has %zu bytes, the limit is %d", n,
                          PATTERN_MAX);
    while (r.at < n) KVC_TRY(element(&r));
    if (r.depth) return refuse(&r, n, "a ( without its )");
    return r.failed_memory ? field_fail(where, KVC_NO_MEMORY, err, "out of memory") : KVC_OK;
}
