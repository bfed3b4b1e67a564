/* cmd_generate.c - kvcalib generate MODEL --prompt TEXT [--config cfg.bin]: text through libkvc's cache, token by
 * token. */
#include "command.h"
#include "config_image.h"
#include "console.h"
#include "job.h"
#include "output.h"
#include "prompts.h"
#include "sample.h"
#include "stop_tokens.h"
#include "subject.h"
#include "utf8_stream.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_PROMPT ((size_t)64 << 20)

typedef struct generation {
    subject subject;
    config_image image;
    kvc_cache *cache;
    decoder *decoder;
    token_list prompt;
    sampler sampler;
    stop_tokens stop;
    size_t n_generated;
    double read_seconds, write_seconds;
} generation;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static kvc_status prompt_text(char **out, size_t *n, const settings *s, kvc_error *err)
{
    if (!s->prompt == !s->prompt_file)
        return kvc_fail(err, KVC_INVALID, "generate: give either --prompt or --prompt-file");
    if (s->prompt_file) return input_read(out, n, s->prompt_file, MAX_PROMPT, err);
    *out = strdup(s->prompt);
    *n = strlen(s->prompt);
    return *out ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory");
}

/* The chat template needs the prompt as one C string. */
static kvc_status wrap_chat(char **text, size_t *n, const settings *s, const tokenizer *t, kvc_error *err)
{
    const char *role = "user", *content = *text;
    if (strlen(*text) != *n) return kvc_fail(err, KVC_FORMAT, "%s: holds a NUL byte", s->prompt_file);
    char *chat = chat_format(t, &role, &content, 1, true);
    if (!chat) return kvc_fail(err, KVC_NO_MEMORY, "out of memory");
    free(*text);
    *text = chat;
    *n = strlen(chat);
    return KVC_OK;
}

static kvc_status encode(generation *g, const settings *s, const char *text, size_t n, kvc_error *err)
{
    const tokenizer *t = g->subject.tokenizer;
    uint32_t vocab = g->subject.model->config.vocab;
    int64_t prefix = tokenizer_prefix(t);
    kvc_error why = {0};
    if (prefix >= 0) KVC_TRY(token_list_push(&g->prompt, (uint32_t)prefix, err));
    kvc_status status = tokenizer_encode(t, text, n, &g->prompt, &why);
    if (status != KVC_OK)
        return kvc_fail(err, status, "%s: %s", s->prompt ? "--prompt" : s->prompt_file, why.message);
    if (g->prompt.n == 0) return kvc_fail(err, KVC_INPUT, "the prompt is empty");
    for (size_t i = 0; i < g->prompt.n; i++)
        if (g->prompt.ids[i] >= vocab)
            return kvc_fail(err, KVC_MISMATCH, "the tokenizer gives id %u, but the model's vocabulary has %u tokens",
                            g->prompt.ids[i], vocab);
    return KVC_OK;
}

static kvc_status read_prompt(generation *g, const settings *s, kvc_error *err)
{
    char *text = NULL;
    size_t n = 0;
    if (!g->subject.tokenizer)
        return kvc_fail(err, KVC_INPUT, "%s: no tokenizer.json beside the model", s->operands[0]);
    KVC_TRY(prompt_text(&text, &n, s, err));
    kvc_status status = s->chat ? wrap_chat(&text, &n, s, g->subject.tokenizer, err) : KVC_OK;
    if (status == KVC_OK) status = encode(g, s, text, n, err);
    free(text);
    return status;
}

static kvc_status open_config(generation *g, const settings *s, kvc_error *err)
{
    const kvc_model_info *model = &g->subject.model->info;
    static const kvc_token_policy any = {.sinks = 0, .window = 64, .page = 64};
    if (!s->config) return config_image_exact(&g->image, model, &any, err);
    KVC_TRY(config_image_read(&g->image, s->config, err));
    return model_info_match(kvc_config_model(g->image.config), s->config, model, s->operands[0], err);
}

static kvc_status prepare(generation *g, const settings *s, kvc_error *err)
{
    KVC_TRY(subject_open(&g->subject, s, s->config != NULL, err));
    KVC_TRY(read_prompt(g, s, err));
    subject_note_length(&g->subject, g->prompt.n + s->n_tokens);
    KVC_TRY(open_config(g, s, err));
    KVC_TRY(stop_tokens_read(&g->stop, g->subject.model, err));
    KVC_TRY(
        sampler_new(&g->sampler, g->subject.model->config.vocab, s->temperature, s->top_k, s->top_p, s->seed, err));
    kvc_cache_options options = {.size = sizeof options, .max_sequences = 1, .max_tokens = g->prompt.n + s->n_tokens};
    KVC_TRY(kvc_cache_create(&g->cache, g->image.config, &options, err));
    return decoder_new(&g->decoder, g->subject.model, g->subject.backend, g->cache, err);
}

/* Prompt tokens fed between two looks at the signals. */
enum { PROMPT_CHUNK = 64 };

static kvc_status feed_prompt(generation *g, const float **logits, kvc_error *err)
{
    for (size_t at = 0; at < g->prompt.n; at += PROMPT_CHUNK) {
        size_t n = g->prompt.n - at < PROMPT_CHUNK ? g->prompt.n - at : PROMPT_CHUNK;
        if (job_cancelled(console_job())) return kvc_fail(err, KVC_INTERRUPTED, "interrupted in the prompt");
        KVC_TRY(decoder_feed(g->decoder, 0, g->prompt.ids + at, n, logits, err));
    }
    return KVC_OK;
}

static kvc_status put_token(utf8_stream *out, const tokenizer *t, uint32_t id, kvc_error *err)
{
    size_t n;
    const char *bytes = tokenizer_bytes(t, id, &n);
    if (!tokenizer_is_special(t, id)) utf8_put(out, bytes, n);
    return console_flush(err);
}

static kvc_status write_text(generation *g, const settings *s, const float *logits, kvc_error *err)
{
    utf8_stream out = {.out = stdout};
    kvc_status status = KVC_OK;
    while (status == KVC_OK) {
        uint32_t id = sampler_next(&g->sampler, logits);
        if (stop_tokens_hold(&g->stop, id)) break;
        status = put_token(&out, g->subject.tokenizer, id, err);
        if (status == KVC_OK && ++g->n_generated == s->n_tokens) break;
        if (status == KVC_OK && job_cancelled(console_job())) status = kvc_fail(err, KVC_INTERRUPTED, "interrupted");
        if (status == KVC_OK) status = decoder_feed(g->decoder, 0, &id, 1, &logits, err);
    }
    utf8_end(&out);
    putchar('\n');
    return status;
}

static kvc_status generate(generation *g, const settings *s, kvc_error *err)
{
    const float *logits = NULL;
    KVC_TRY(prepare(g, s, err));
    double begin = now();
    KVC_TRY(feed_prompt(g, &logits, err));
    double middle = now();
    KVC_TRY(write_text(g, s, logits, err));
    g->read_seconds = middle - begin;
    g->write_seconds = now() - middle;
    uint64_t held = g->prompt.n + g->n_generated;
    console_note(
        "prompt: %zu tokens, %.1f tokens/s; text: %zu tokens, %.1f tokens/s; cache: %llu bytes for %llu tokens "
        "(fp16: %llu)",
        g->prompt.n, (double)g->prompt.n / g->read_seconds, g->n_generated, (double)g->n_generated / g->write_seconds,
        (unsigned long long)kvc_config_bytes(g->image.config, held), (unsigned long long)held,
        (unsigned long long)(held * 4 * g->subject.model->info.n_layers * g->subject.model->info.n_kv_heads *
                             g->subject.model->info.head_dim));
    return KVC_OK;
}

kvc_status command_generate(settings *s, kvc_error *err)
{
    generation g = {0};
    kvc_status status = generate(&g, s, err);
    decoder_free(g.decoder);
    kvc_cache_destroy(g.cache);
    config_image_free(&g.image);
    sampler_free(&g.sampler);
    token_list_free(&g.prompt);
    subject_close(&g.subject);
    return status;
}
