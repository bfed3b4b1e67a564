/* subject.c - see subject.h. */
#include "subject.h"
#include "console.h"
#include "sha256.h"
#include <string.h>
#include <unistd.h>

static kvc_status open_tokenizer(subject *out, kvc_error *err)
{
    char path[4096];
    model_tokenizer_path(out->model, path, sizeof path);
    if (access(path, F_OK) != 0) return KVC_OK;
    return tokenizer_open(&out->tokenizer, path, err);
}

kvc_status subject_open(subject *out, const settings *s, bool hash, kvc_error *err)
{
    *out = (subject){0};
    KVC_TRY(backend_open(&out->backend, s->device, (int)s->threads, err));
    KVC_TRY(model_open(&out->model, s->operands[0], hash, err));
    const kvc_model_info *m = &out->model->info;
    console_detail("%s: %s, %u layers, %u query and %u KV heads of %u, on %s", m->name, m->architecture, m->n_layers,
                   m->n_query_heads, m->n_kv_heads, m->head_dim, out->backend->name);
    return open_tokenizer(out, err);
}

void subject_close(subject *subject)
{
    uint64_t peak = subject->backend ? subject->backend->peak(subject->backend) : 0;
    if (peak) console_detail("peak device memory %.1f MiB", (double)peak / (1 << 20));
    tokenizer_close(subject->tokenizer);
    model_close(subject->model); /* some of its weights may be the backend's memory */
    if (subject->backend) subject->backend->close(subject->backend);
}

void subject_note_length(const subject *subject, uint64_t n_tokens)
{
    uint32_t most = subject->model->config.max_positions;
    if (n_tokens > most)
        console_note("sequences of %llu tokens are longer than the %u that the model was made for",
                     (unsigned long long)n_tokens, most);
}

static kvc_status match_number(const char *field, double a, const char *left, double b, const char *right,
                               kvc_error *err)
{
    if (a == b) return KVC_OK;
    return kvc_fail(err, KVC_MISMATCH, "%s has %s %.9g, %s has %.9g", left, field, a, right, b);
}

static kvc_status match_hash(const uint8_t *a, const char *left, const uint8_t *b, const char *right, kvc_error *err)
{
    char hex[2][65];
    if (memcmp(a, b, 32) == 0) return KVC_OK;
    sha256_hex(a, hex[0]);
    sha256_hex(b, hex[1]);
    return kvc_fail(err, KVC_MISMATCH, "%s is for weights with SHA-256 %.16s..., %s has %.16s...", left, hex[0],
                    right, hex[1]);
}

kvc_status model_info_match(const kvc_model_info *a, const char *left, const kvc_model_info *b, const char *right,
                            kvc_error *err)
{
    struct {
        const char *field;
        double a, b;
    } numbers[] = {
        {"layers", a->n_layers, b->n_layers},
        {"query heads", a->n_query_heads, b->n_query_heads},
        {"KV heads", a->n_kv_heads, b->n_kv_heads},
        {"head dimension", a->head_dim, b->head_dim},
        {"hidden size", a->hidden_size, b->hidden_size},
        {"vocabulary", a->vocab_size, b->vocab_size},
        {"rope theta", a->rope_theta, b->rope_theta},
    };
    if (strcmp(a->architecture, b->architecture) != 0)
        return kvc_fail(err, KVC_MISMATCH, "%s has architecture %s, %s has %s", left, a->architecture, right,
                        b->architecture);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        KVC_TRY(match_number(numbers[i].field, numbers[i].a, left, numbers[i].b, right, err));
    return match_hash(a->weights_sha256, left, b->weights_sha256, right, err);
}
