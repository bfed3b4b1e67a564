/* corpus.c - see corpus.h. */
#include "corpus.h"
#include "console.h"
#include "sha256.h"
#include <stdlib.h>
#include <string.h>

static int64_t prefix_of(const subject *subject)
{
    return subject->tokenizer ? tokenizer_prefix(subject->tokenizer) : -1;
}

static kvc_status read_files(prompt_file **out, size_t *n_out, const text_list *paths, const subject *subject,
                             kvc_error *err)
{
    *out = calloc(paths->n, sizeof **out);
    if (!*out) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for prompts");
    for (*n_out = 0; *n_out < paths->n; ++*n_out)
        KVC_TRY(prompts_read(&(*out)[*n_out], paths->items[*n_out], subject->tokenizer, subject->model->config.vocab,
                             err));
    return KVC_OK;
}

static kvc_status read_builtin(corpus *out, const subject *subject, kvc_error *err)
{
    size_t n;
    const builtin_prompt *list = builtin_prompts(&n);
    if (!subject->tokenizer)
        return kvc_fail(err, KVC_INPUT, "%s has no tokenizer.json: give --prompts FILE.tokens",
                        subject->model->info.name);
    console_note("calibrating on the built-in text; --prompts with text like yours gives a better result");
    out->files = calloc(n, sizeof *out->files);
    if (!out->files) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for prompts");
    for (out->n_files = 0; out->n_files < n; out->n_files++) {
        const builtin_prompt *b = &list[out->n_files];
        KVC_TRY(prompts_read_memory(&out->files[out->n_files], b->name, b->text, b->n, subject->tokenizer,
                                    subject->model->config.vocab, err));
    }
    return KVC_OK;
}

size_t sequences_within(const sequence_set *s, uint64_t n_tokens)
{
    size_t n = s->n > 0;
    while (n < s->n && s->first[n + 1] <= n_tokens) n++;
    return n;
}

size_t corpus_measured(const settings *s, const sequence_set *calibration)
{
    uint64_t n_tokens = s->price_tokens > s->anchor_tokens ? s->price_tokens : s->anchor_tokens;
    size_t n = sequences_within(calibration, n_tokens), quarter = calibration->n / 4;
    return n < quarter ? n : quarter;
}

static uint64_t tokens_between(const sequence_set *s, size_t begin, size_t end)
{
    return s->first[end] - s->first[begin];
}

/* Sets [begin, end), the sequences that are held apart: those that follow the first calib_tokens, or, where too few
 * are left, the last of all. At least one; at least one before them. */
static void choose_holdout(const sequence_set *all, const settings *s, size_t *begin, size_t *end)
{
    uint64_t fifth = tokens_between(all, 0, all->n) / 5, want = fifth < s->holdout_tokens ? fifth : s->holdout_tokens;
    *begin = *end = sequences_within(all, s->calib_tokens);
    while (*end < all->n && (*end == *begin || tokens_between(all, *begin, *end) < want)) ++*end;
    if (*end > *begin && tokens_between(all, *begin, *end) >= want) return;
    *begin = *end - 1;
    while (*begin > 1 && tokens_between(all, *begin, *end) < want) --*begin;
}

static kvc_status split(corpus *out, const sequence_set *all, const settings *s, bool hold_apart, kvc_error *err)
{
    size_t calibrating = sequences_within(all, s->calib_tokens), end;
    if (hold_apart && s->holdout.n == 0) {
        choose_holdout(all, s, &calibrating, &end);
        KVC_TRY(sequences_slice(&out->holdout, all, calibrating, end, err));
    }
    return sequences_slice(&out->calibration, all, 0, calibrating, err);
}

/* Sequences shorter than this have no compressed page. */
static uint32_t shortest_useful(const settings *s)
{
    return (uint32_t)(s->sinks.n + s->window.n + s->page);
}

/* Cut the prompts so that there are at least `needed` sequences, into ever shorter ones if need be. */
static kvc_status cut(sequence_set *all, corpus *out, const settings *s, const subject *subject, size_t needed,
                      kvc_error *err)
{
    uint64_t want = s->seq_len < s->calib_tokens ? s->seq_len : s->calib_tokens, n_tokens = 0;
    uint32_t shortest = shortest_useful(s);
    for (out->seq_len = (uint32_t)want;; out->seq_len /= 2) {
        KVC_TRY(sequences_mix(all, out->files, out->n_files, out->seq_len, prefix_of(subject), err));
        if (all->n >= needed) break;
        n_tokens = sequences_tokens(all);
        sequences_free(all);
        if (out->seq_len / 2 < shortest)
            return kvc_fail(
                err, KVC_INPUT,
                "too little text: %llu tokens do not make %zu sequence%s of at least %u tokens (sinks + window + "
                "page)%s",
                (unsigned long long)n_tokens, needed, needed == 1 ? "" : "s", shortest,
                needed > 1 ? "; give more --prompts, or --holdout" : "");
    }
    if (out->seq_len < want)
        console_note("little text: sequences of %u tokens instead of %u", out->seq_len, (unsigned)want);
    return KVC_OK;
}

static kvc_status read_holdout(corpus *out, const settings *s, const subject *subject, kvc_error *err)
{
    sequence_set all = {0};
    KVC_TRY(read_files(&out->held_files, &out->n_held_files, &s->holdout, subject, err));
    KVC_TRY(sequences_mix(&all, out->held_files, out->n_held_files, (uint32_t)s->seq_len, prefix_of(subject), err));
    kvc_status status = all.n
                            ? sequences_slice(&out->holdout, &all, 0, sequences_within(&all, s->holdout_tokens), err)
                            : kvc_fail(err, KVC_INPUT, "%s: less than 2 tokens of text", s->holdout.items[0]);
    sequences_free(&all);
    return status;
}

static void note_shared_files(const corpus *c)
{
    for (size_t i = 0; i < c->n_held_files; i++)
        for (size_t j = 0; j < c->n_files; j++)
            if (memcmp(c->held_files[i].sha256, c->files[j].sha256, 32) == 0)
                console_note("%s is held out and calibrated on: the measured figures will flatter",
                             c->held_files[i].name);
}

kvc_status corpus_open(corpus *out, const settings *s, const subject *subject, bool hold_apart, kvc_error *err)
{
    sequence_set all = {0};
    *out = (corpus){0};
    KVC_TRY(s->prompts.n ? read_files(&out->files, &out->n_files, &s->prompts, subject, err)
                         : read_builtin(out, subject, err));
    if (hold_apart && s->holdout.n) KVC_TRY(read_holdout(out, s, subject, err));
    KVC_TRY(cut(&all, out, s, subject, hold_apart && !s->holdout.n ? 2 : 1, err));
    kvc_status status = split(out, &all, s, hold_apart, err);
    subject_note_length(subject, sequences_longest(&all));
    note_shared_files(out);
    sequences_free(&all);
    if (status == KVC_OK)
        console_detail("%zu tokens in %zu sequences to calibrate on, %zu held apart",
                       sequences_tokens(&out->calibration), out->calibration.n, sequences_tokens(&out->holdout));
    return status;
}

static void files_free(prompt_file *files, size_t n)
{
    for (size_t i = 0; i < n; i++) prompt_file_free(&files[i]);
    free(files);
}

void corpus_close(corpus *c)
{
    files_free(c->files, c->n_files);
    files_free(c->held_files, c->n_held_files);
    sequences_free(&c->calibration);
    sequences_free(&c->holdout);
}

json_t *prompt_files_json(const prompt_file *files, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        char hex[65];
        sha256_hex(files[i].sha256, hex);
        json_t *name = json_string(files[i].name);
        json_array_append_new(list, json_pack("{s:o,s:s,s:I}", "name", name ? name : json_string("(no UTF-8)"),
                                              "sha256", hex, "tokens", (json_int_t)files[i].tokens.n));
    }
    return list;
}
