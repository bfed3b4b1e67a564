/* report.c - the page: head, heading with the chosen plan's figures, and the sections in turn. */
#include "report.h"
#include "report_part.h"
#include <math.h>
#include <stdlib.h>

extern const unsigned char report_css[];
extern const size_t report_css_size;

static void put_head(text *out, const char *model)
{
    text_put(out,
             "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<meta name=\"color-scheme\" content=\"light dark\">\n<title>%s: KV cache</title>\n<style>\n",
             model);
    text_raw(out, report_css, report_css_size);
    text_put(out, "</style>\n</head>\n<body>\n");
}

static void put_fact(text *out, const char *value, const char *meaning)
{
    text_put(out, "<div><dt>%s</dt><dd>%s</dd></div>\n", meaning, value);
}

static void put_size(text *out, const json_t *size)
{
    double cache = doc_number(size, "cache_bytes"), fp16 = doc_number(size, "fp16_bytes"),
           constants = doc_number(size, "constant_bytes");
    if (isnan(cache)) return;
    text_put(out, "<div><dt>cache");
    if (constants > 0) text_put(out, ", and %s of constants", figure_bytes(constants).s);
    text_put(out, "</dt><dd>%s", figure_bytes(cache).s);
    if (cache > 0 && fp16 > 0) text_put(out, " <small>%s times smaller</small>", figure_short(fp16 / cache).s);
    text_put(out, "</dd></div>\n");
}

static void put_bits(text *out, const json_t *chosen, double context)
{
    double codes = doc_number(chosen, "codes_bits");
    text_put(out, "<div><dt>true bits per value");
    if (!isnan(context)) text_put(out, " at %s tokens", figure_count(context).s);
    text_put(out, "</dt><dd>%s", figure_bits(doc_number(chosen, "bits")).s);
    if (!isnan(codes)) text_put(out, " <small>%s codes and metadata</small>", figure_bits(codes).s);
    text_put(out, "</dd></div>\n");
}

static void put_measured(text *out, const json_t *result)
{
    text_put(out, "<div><dt>KL, nats per token</dt><dd>%s <small>\xc2\xb1 %s</small></dd></div>\n",
             figure_kl(doc_number(result, "kl")).s, figure_error(doc_number(result, "kl_stderr")).s);
    put_fact(out, figure_ratio(doc_number(result, "ppl_ratio")).s, "perplexity ratio");
    put_fact(out, figure_percent(doc_number(result, "top1")).s, "same first choice");
}

static void put_summary(text *out, const json_t *doc)
{
    const json_t *chosen = json_object_get(doc, "chosen"), *result = report_flagged(doc, "chosen");
    double tokens = doc_number(result, "tokens"), predicted = doc_number(chosen, "predicted_kl");
    if (!json_is_object(chosen) && !result) return;
    text_put(out, "<dl class=\"facts\">\n");
    put_bits(out, json_is_object(chosen) ? chosen : result, doc_number(doc, "context"));
    put_size(out, json_object_get(doc, "size"));
    if (result) put_measured(out, result);
    if (!isnan(predicted)) put_fact(out, figure_kl(predicted).s, "predicted KL");
    text_put(out, "</dl>\n");
    if (!isnan(tokens)) text_put(out, "<p>Measured on %s tokens held apart.</p>\n", figure_count(tokens).s);
}

kvc_status report_render(const json_t *doc, char **html, kvc_error *err)
{
    text out = {0};
    const char *name = doc_text(json_object_get(doc, "model"), "name");
    put_head(&out, name ? name : "model");
    text_put(&out, "<header><h1>%s</h1>\n", name ? name : "KV cache");
    put_summary(&out, doc);
    text_put(&out, "</header>\n<main>\n");
    report_front(&out, doc);
    report_layers(&out, doc);
    report_pairs(&out, doc);
    report_results(&out, doc);
    report_domains(&out, doc);
    report_provenance(&out, doc);
    text_put(&out, "</main>\n</body>\n</html>\n");
    *html = out.failed ? NULL : out.bytes;
    if (*html) return KVC_OK;
    free(out.bytes);
    return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the report");
}
