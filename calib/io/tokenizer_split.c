/* tokenizer_split.c - runs the split steps over a piece of text. A step sees each piece of the one before it
 * alone, as Hugging Face does: look-ahead never crosses a cut. The steps recurse (at most SPLIT_STEPS_MAX
 * deep), so that no list of pieces is ever held. The work of one match is bounded; a pattern that exceeds it
 * is an error, not a hang. */
#include "tokenizer_split.h"

#include <stdlib.h>
#include <string.h>

enum { JIT_STACK_START = 32 << 10, JIT_STACK_MAX = 8 << 20, MATCH_LIMIT = 10000000 };

struct splitter {
    const split_plan *plan;
    bpe_work *bpe;
    const char *what;
    pcre2_match_context *context;
    pcre2_jit_stack *jit_stack;
    pcre2_match_data *match[SPLIT_STEPS_MAX];
    text_buffer prefixed;
    token_list *out;
    kvc_error *err;
};

kvc_status splitter_open(splitter **out, const split_plan *plan, bpe_work *bpe, const char *what, kvc_error *err)
{
    splitter *s = *out = calloc(1, sizeof *s);
    bool ok = s && (s->context = pcre2_match_context_create(NULL));
    for (size_t i = 0; ok && i < plan->n; i++)
        if (plan->steps[i].code) ok = (s->match[i] = pcre2_match_data_create(1, NULL));
    if (!ok) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", what);
    s->plan = plan;
    s->bpe = bpe;
    s->what = what;
    s->jit_stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL); /* NULL where there is no JIT */
    if (s->jit_stack) pcre2_jit_stack_assign(s->context, NULL, s->jit_stack);
    return KVC_OK;
}

void splitter_close(splitter *s)
{
    if (!s) return;
    for (size_t i = 0; i < SPLIT_STEPS_MAX; i++) pcre2_match_data_free(s->match[i]);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->jit_stack);
    free(s->prefixed.bytes);
    free(s);
}

static kvc_status run_from(splitter *s, size_t step, const char *text, size_t n);

/* ---- matches
 * ------------------------------------------------------------------------------------------------- */

typedef struct span {
    size_t start, end;
} span;

/* The first match at or after `from`; start SIZE_MAX: none. */
static kvc_status next_pattern(splitter *s, size_t step, const char *text, size_t n, size_t from, span *out)
{
    int rc = pcre2_match(s->plan->steps[step].code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, s->match[step],
                         s->context);
    *out = (span){SIZE_MAX, SIZE_MAX};
    if (rc == PCRE2_ERROR_NOMATCH) return KVC_OK;
    if (rc < 0) {
        PCRE2_UCHAR why[120];
        pcre2_get_error_message(rc, why, sizeof why);
        return kvc_fail(s->err, KVC_UNSUPPORTED, "%s: pre_tokenizer: a pattern gave up on a piece of %zu bytes: %s",
                        s->what, n, (char *)why);
    }
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(s->match[step]);
    *out = (span){at[0], at[1]};
    return KVC_OK;
}

static span next_digit(const char *text, size_t n, size_t from)
{
    uint32_t point;
    unsigned k;
    for (size_t i = from; i < n; i += k) {
        k = utf8_read(text + i, n - i, &point);
        if (char_is_numeric(point)) return (span){i, i + k};
    }
    return (span){SIZE_MAX, SIZE_MAX};
}

/* The next match, where an empty one right behind the last one does not count. */
static kvc_status next_match(splitter *s, size_t step, const char *text, size_t n, size_t from, bool after_match,
                             span *out)
{
    if (s->plan->steps[step].kind == SPLIT_DIGITS) return *out = next_digit(text, n, from), KVC_OK;
    KVC_TRY(next_pattern(s, step, text, n, from, out));
    if (!after_match || out->end != from) return KVC_OK;
    uint32_t point;
    if (from == n) return *out = (span){SIZE_MAX, SIZE_MAX}, KVC_OK;
    return next_pattern(s, step, text, n, from + utf8_read(text + from, n - from, &point), out);
}

/* ---- cutting
 * ------------------------------------------------------------------------------------------------- */

typedef struct cutter { /* one step over one piece */
    splitter *s;
    size_t step;
    const char *text;
    span pending;
    bool has_pending, drop_pending, last_was_match;
} cutter;

static kvc_status flush(cutter *c)
{
    bool hand_on = c->has_pending && !c->drop_pending && c->pending.start < c->pending.end;
    if (!hand_on) return KVC_OK;
    return run_from(c->s, c->step + 1, c->text + c->pending.start, c->pending.end - c->pending.start);
}

/* Takes the pieces, matches and what is between them, from left to right. */
static kvc_status take(cutter *c, size_t start, size_t end, bool match)
{
    const split_step *step = &c->s->plan->steps[c->step];
    match ^= step->invert;
    bool join = step->behavior == CONTIGUOUS             ? match == c->last_was_match
                : step->behavior == MERGED_WITH_PREVIOUS ? match && !c->last_was_match
                : step->behavior == MERGED_WITH_NEXT     ? !match && c->last_was_match
                                                         : false;
    c->last_was_match = match;
    if (join && c->has_pending) {
        c->pending.end = end;
        return KVC_OK;
    }
    KVC_TRY(flush(c));
    c->pending = (span){start, end};
    c->has_pending = true;
    c->drop_pending = step->behavior == REMOVED && match;
    return KVC_OK;
}

static kvc_status cut(splitter *s, size_t step, const char *text, size_t n)
{
    cutter c = {.s = s, .step = step, .text = text};
    size_t done = 0;
    bool after_match = false;
    for (;;) {
        span m;
        KVC_TRY(next_match(s, step, text, n, done, after_match, &m));
        if (m.start == SIZE_MAX) break;
        if (m.start > done) KVC_TRY(take(&c, done, m.start, false));
        KVC_TRY(take(&c, m.start, m.end, true));
        done = m.end;
        after_match = true;
    }
    if (done < n) KVC_TRY(take(&c, done, n, false));
    return flush(&c);
}

static kvc_status prefix_space(splitter *s, size_t step, const char *text, size_t n)
{
    if (text[0] == ' ') return run_from(s, step + 1, text, n);
    s->prefixed.n = 0; /* there is one such step in a plan, so nobody is reading this */
    if (!text_append(&s->prefixed, " ", 1) || !text_append(&s->prefixed, text, n))
        return kvc_fail(s->err, KVC_NO_MEMORY, "%s: out of memory", s->what);
    return run_from(s, step + 1, s->prefixed.bytes, s->prefixed.n);
}

static kvc_status run_from(splitter *s, size_t step, const char *text, size_t n)
{
    if (n == 0) return KVC_OK;
    if (step == s->plan->n) return bpe_encode(s->bpe, text, n, s->out, s->err);
    if (s->plan->steps[step].kind == SPLIT_PREFIX_SPACE) return prefix_space(s, step, text, n);
    return cut(s, step, text, n);
}

kvc_status splitter_run(splitter *s, const char *text, size_t n, token_list *out, kvc_error *err)
{
    s->out = out;
    s->err = err;
    pcre2_set_match_limit(s->context, (uint32_t)(n < 1u << 27 ? MATCH_LIMIT + 16 * n : UINT32_MAX));
    return run_from(s, 0, text, n);
}
