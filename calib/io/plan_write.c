/* plan_write.c - plans as YAML: canonical (equal plans give equal text), ASCII but for comments. */
#include "plan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

static bool is_printable(int32_t c)
{ /* as YAML 1.1 has it, less tabs, line ends and the byte order mark */
    return (c >= 0x20 && c <= 0x7e) || (c >= 0xa0 && c <= 0xfffd && c != 0xfeff && c != 0x2028 && c != 0x2029) ||
           c >= 0x10000;
}

/* The next code point and its bytes; invalid UTF-8 reads as '?'. */
static size_t next_char(const char *text, int32_t *c)
{
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, c);
    if (n > 0) return (size_t)n;
    *c = '?';
    return 1;
}

static bool is_plain(const char *text)
{
    static const char *const words[] = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", NULL};
    bool letter = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z');
    for (int i = 0; words[i]; i++)
        if (strcasecmp(text, words[i]) == 0) return false;
    return letter && !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/+@-")];
}

static void put_text(FILE *f, const char *text)
{
    if (is_plain(text)) {
        fputs(text, f);
        return;
    }
    putc('"', f);
    while (*text) {
        int32_t c;
        text += next_char(text, &c);
        if (c == '"' || c == '\\')
            fprintf(f, "\\%c", (char)c);
        else if (c >= 0x20 && c <= 0x7e)
            putc((char)c, f);
        else if (c <= 0xffff)
            fprintf(f, "\\u%04X", (unsigned)c);
        else
            fprintf(f, "\\U%08X", (unsigned)c);
    }
    putc('"', f);
}

static void put_comment(FILE *f, const char *text)
{
    while (*text) {
        fputs("#", f);
        for (const char *gap = " "; *text && *text != '\n'; gap = "") {
            int32_t c;
            size_t n = next_char(text, &c);
            if (is_printable(c) && n > 1)
                fprintf(f, "%s%.*s", gap, (int)n, text);
            else
                fprintf(f, "%s%c", gap, is_printable(c) ? (char)c : '?');
            text += n;
        }
        putc('\n', f);
        if (*text) text++;
    }
}

typedef struct pair_text {
    char key[KVC_SPEC_MAX], value[KVC_SPEC_MAX];
} pair_text;

static bool same_pair(const pair_text *a, const pair_text *b)
{
    return strcmp(a->key, b->key) == 0 && strcmp(a->value, b->value) == 0;
}

/* The first layer that has the most frequent pair. */
static uint32_t most_frequent(const pair_text *pairs, uint32_t n)
{
    uint32_t best = 0, best_count = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t count = 0;
        for (uint32_t j = 0; j < n; j++) count += same_pair(&pairs[i], &pairs[j]);
        if (count > best_count) best = i, best_count = count;
    }
    return best;
}

static void put_pair(FILE *f, const pair_text *pair)
{
    fputs("{key: ", f);
    put_text(f, pair->key);
    fputs(", value: ", f);
    put_text(f, pair->value);
    fputs("}\n", f);
}

static void put_head(FILE *f, const plan *p)
{
    static const uint8_t none[32];
    if (*p->model) {
        fputs("model: ", f);
        put_text(f, p->model);
        putc('\n', f);
    }
    if (memcmp(p->weights_sha256, none, 32) != 0) {
        fputs("model_sha256: \"", f);
        for (int i = 0; i < 32; i++) fprintf(f, "%02x", p->weights_sha256[i]);
        fputs("\"\n", f);
    }
    fprintf(f, "tokens: {sinks: %u, window: %u, page: %u}\n", p->tokens.sinks, p->tokens.window, p->tokens.page);
}

static void put_layers(FILE *f, const pair_text *pairs, uint32_t n)
{
    const pair_text *common = &pairs[most_frequent(pairs, n)];
    bool open = false;
    fputs("default: ", f);
    put_pair(f, common);
    for (uint32_t i = 0; i < n; i++) {
        if (same_pair(&pairs[i], common)) continue;
        fprintf(f, "%s  %u: ", open ? "" : "layers:\n", i);
        put_pair(f, &pairs[i]);
        open = true;
    }
}

char *plan_write(const plan *p, const char *comment)
{
    char *text = NULL;
    size_t n = 0;
    pair_text *pairs = calloc(p->n_layers ? p->n_layers : 1, sizeof *pairs);
    FILE *f = pairs ? open_memstream(&text, &n) : NULL;
    if (!f) {
        free(pairs);
        return NULL;
    }
    for (uint32_t i = 0; i < p->n_layers; i++) {
        kvc_codec_format(&p->layers[i].key, pairs[i].key);
        kvc_codec_format(&p->layers[i].value, pairs[i].value);
    }
    if (comment) put_comment(f, comment);
    put_head(f, p);
    if (p->n_layers) put_layers(f, pairs, p->n_layers);
    free(pairs);
    if (fclose(f) == 0) return text;
    free(text);
    return NULL;
}

/* ---- KVTuner's form ---- */

/* The bits that stand for a codec; 0: none do. */
static unsigned kvtuner_bits(const kvc_codec *codec, const char *scale)
{
    char spec[KVC_SPEC_MAX], wanted[KVC_SPEC_MAX];
    kvc_codec_format(codec, spec);
    if (strcmp(spec, "fp16") == 0) return 16;
    snprintf(wanted, sizeof wanted, "int%u.%s32", codec->bits, scale);
    return strcmp(spec, wanted) == 0 ? codec->bits : 0;
}

/* The first few codecs that have no place in the form, and how many more there are. */
static kvc_status check_kvtuner(const plan *p, kvc_error *err)
{
    enum { LISTED = 4 };
    char list[LISTED * (KVC_SPEC_MAX + 24)] = "", more[32] = "", spec[KVC_SPEC_MAX];
    size_t used = 0;
    unsigned n = 0;
    for (uint32_t i = 0; i < 2 * p->n_layers; i++) {
        const kvc_codec *codec = i % 2 ? &p->layers[i / 2].value : &p->layers[i / 2].key;
        if (kvtuner_bits(codec, i % 2 ? "tok" : "ch") || n++ >= LISTED) continue;
        kvc_codec_format(codec, spec);
        used += (size_t)snprintf(list + used, sizeof list - used, "%slayer %u %s %s", n > 1 ? ", " : "", i / 2,
                                 i % 2 ? "value" : "key", spec);
    }
    if (n == 0) return KVC_OK;
    if (n > LISTED) snprintf(more, sizeof more, " and %u more", n - LISTED);
    return kvc_fail(err, KVC_LOSSY,
                    "KVTuner's form has bits alone, for int.ch32 keys and int.tok32 values; it would lose %s%s", list,
                    more);
}

kvc_status plan_write_kvtuner(char **out, const plan *p, const char *comment, kvc_error *err)
{
    size_t n;
    *out = NULL;
    KVC_TRY(check_kvtuner(p, err));
    FILE *f = open_memstream(out, &n);
    if (!f) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a plan");
    if (comment) put_comment(f, comment);
    for (uint32_t i = 0; i < p->n_layers; i++)
        fprintf(f, "%u: {nbits_key: %u, nbits_value: %u}\n", i, kvtuner_bits(&p->layers[i].key, "ch"),
                kvtuner_bits(&p->layers[i].value, "tok"));
    if (fclose(f) == 0) return KVC_OK;
    free(*out);
    *out = NULL;
    return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a plan");
}
