/* cmd_inspect.c - kvcalib inspect cfg.bin: what it holds, for people (also as a git textconv) and as JSON. */
#include "command.h"
#include "config_image.h"
#include "inspect_json.h"
#include "sha256.h"
#include <string.h>

static void print_model(const kvc_model_info *m)
{
    char hex[65];
    printf("model       %s (%s): %u layers, %u query and %u KV heads of %u, hidden %u, vocabulary %u\n", m->name,
           m->architecture, m->n_layers, m->n_query_heads, m->n_kv_heads, m->head_dim, m->hidden_size, m->vocab_size);
    sha256_hex(m->weights_sha256, hex);
    printf("weights     sha256 %s\n", hex);
    sha256_hex(m->tokenizer_sha256, hex);
    printf("tokenizer   sha256 %s\n", hex);
}

static void print_size(const kvc_config *c, uint64_t context, size_t file_bytes)
{
    size_t constants;
    kvc_config_parameters(c, &constants);
    double bits = kvc_config_bits_per_value(c, context);
    printf("size        %.4f bits per value at %llu tokens, %.1f bytes per token, %.2f times smaller than fp16\n",
           bits, (unsigned long long)context, kvc_config_bytes_per_token(c, context), 16 / bits);
    printf("constants   %zu bytes of tables; the file has %zu bytes\n", constants, file_bytes);
}

static bool same_layer(const kvc_layer *a, const kvc_layer *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Layers that follow each other and are alike share a line. */
static void print_layers(const kvc_config *c)
{
    uint32_t n = kvc_config_model(c)->n_layers;
    printf("%-11s %-24s %s\n", "layers", "keys", "values");
    for (uint32_t first = 0, end; first < n; first = end) {
        char key[KVC_SPEC_MAX], value[KVC_SPEC_MAX], range[32];
        const kvc_layer *layer = kvc_config_layer(c, first);
        for (end = first + 1; end < n && same_layer(layer, kvc_config_layer(c, end)); end++) continue;
        snprintf(range, sizeof range, end - first > 1 ? "%u-%u" : "%u", first, end - 1);
        kvc_codec_format(&layer->key, key);
        kvc_codec_format(&layer->value, value);
        printf("  %-9s %-24s %s\n", range, key, value);
    }
}

static double figure(const json_t *o, const char *name)
{
    return json_number_value(json_object_get(o, name));
}

static void print_provenance(const kvc_config *c)
{
    json_t *o = provenance_json(c);
    const json_t *m = json_object_get(o, "measured");
    const char *tool = json_string_value(json_object_get(o, "tool"));
    if (tool) printf("made by     %s\n", tool);
    if (m)
        printf("measured    perplexity %.4f exact, %.4f compressed; KL %.5f +- %.5f; same first choice %.1f %%; %.0f "
               "tokens\n",
               figure(m, "ppl_ref"), figure(m, "ppl"), figure(m, "kl_mean"), figure(m, "kl_stderr"),
               100 * figure(m, "top1_agreement"), figure(m, "tokens"));
    json_decref(o);
}

static void print_text(const config_image *image, uint64_t context)
{
    char id[65];
    const kvc_config *c = image->config;
    const kvc_token_policy *t = kvc_config_tokens(c);
    sha256_hex(kvc_config_id(c), id);
    printf("cfg.bin     format %u.%u\n", kvc_config_format(c) / 1000, kvc_config_format(c) % 1000);
    printf("id          %s\n", id);
    print_model(kvc_config_model(c));
    printf("tokens      first %u and newest %u to %u stay fp16, pages of %u\n", t->sinks, t->window,
           t->window + t->page - 1, t->page);
    print_size(c, context, image->n);
    print_provenance(c);
    print_layers(c);
}

kvc_status command_inspect(settings *s, kvc_error *err)
{
    config_image image;
    KVC_TRY(config_image_read(&image, s->operands[0], err));
    kvc_status status = KVC_OK;
    if (s->json)
        status = inspect_json_print(image.config, s->context, err);
    else
        print_text(&image, s->context);
    config_image_free(&image);
    return status;
}
