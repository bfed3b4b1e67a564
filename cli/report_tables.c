/* report_tables.c - measured plans, and the chosen plan on each text. */
#include "report_part.h"
#include "report_method.h"
#include <math.h>

const json_t *report_flagged(const json_t *doc, const char *flag)
{
    const json_t *result;
    size_t i;
    json_array_foreach(json_object_get(doc, "results"), i, result) if (doc_true(result, flag)) return result;
    return NULL;
}

/* <th class="n"> of each. */
static void put_number_heads(text *out, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) text_put(out, "<th scope=\"col\" class=\"n\">%s</th>", names[i]);
}

static void put_cell(text *out, figure f)
{
    text_put(out, "<td class=\"n\">%s</td>", f.s);
}

static void put_kl(text *out, const json_t *object)
{
    text_put(out, "<td class=\"n\">%s <span>\xc2\xb1 %s</span></td>", figure_kl(doc_number(object, "kl")).s,
             figure_error(doc_number(object, "kl_stderr")).s);
}

/* Of two KL on the same text. */
static figure share(double kl, double yardstick)
{
    return figure_share(yardstick > 0 ? kl / yardstick : NAN);
}

/* A plan's KL as a share of the yardstick's; none where their texts differ. */
static figure share_of(const json_t *result, const json_t *yardstick)
{
    bool same = doc_true(result, "calibration") == doc_true(yardstick, "calibration");
    return share(doc_number(result, "kl"), same ? doc_number(yardstick, "kl") : NAN);
}

static void put_result(text *out, const json_t *result, const method_list *methods, const json_t *yardstick)
{
    bool chosen = doc_true(result, "chosen");
    const char *name = doc_text(result, "name");
    text_put(out, chosen ? "<tr class=\"chosen\">" : "<tr>");
    text_put(out, "<th scope=\"row\">%s%s</th><td class=\"method\">%s</td>", name ? name : "plan",
             doc_true(result, "calibration") ? " (calibration text)" : "",
             methods->name[method_index(methods, result)]);
    put_cell(out, figure_bits(doc_number(result, "bits")));
    put_cell(out, figure_bits(doc_number(result, "codes_bits")));
    put_kl(out, result);
    if (yardstick) put_cell(out, share_of(result, yardstick));
    put_cell(out, figure_ratio(doc_number(result, "ppl_ratio")));
    put_cell(out, figure_percent(doc_number(result, "top1")));
    text_put(out, "</tr>\n");
}

void report_results(text *out, const json_t *doc)
{
    static const char *const before[] = {"true bits", "codes and metadata", "KL, nats per token"};
    static const char *const after[] = {"perplexity ratio", "top-1"};
    const json_t *results = json_object_get(doc, "results"), *yardstick = report_flagged(doc, "yardstick"), *result;
    const char *name = doc_text(yardstick, "name");
    method_list methods = methods_of(doc);
    size_t i;
    if (json_array_size(results) == 0) return;
    text_put(out,
             "<section><h2>Measured plans</h2>\n<p>True bits per value: all bytes of the cache. Codes and metadata: "
             "the window apart. Top-1: how often the exact model's first choice is kept.</p>\n<div "
             "class=\"wide\"><table class=\"%s\">\n<tr><th scope=\"col\">plan</th><th scope=\"col\" "
             "class=\"method\">method</th>",
             yardstick ? "plans shared" : "plans");
    put_number_heads(out, before, 3);
    if (yardstick) text_put(out, "<th scope=\"col\" class=\"n\">share of %s</th>", name ? name : "the yardstick");
    put_number_heads(out, after, 2);
    text_put(out, "</tr>\n");
    json_array_foreach(results, i, result) put_result(out, result, &methods, yardstick);
    text_put(out, "</table></div></section>\n");
}

static void put_domain(text *out, const json_t *domain)
{
    const char *name = doc_text(domain, "name");
    double yardstick = doc_number(domain, "yardstick_kl");
    text_put(out, "<tr><th scope=\"row\">%s</th>", name ? name : "unnamed");
    put_cell(out, figure_count(doc_number(domain, "tokens")));
    put_kl(out, domain);
    put_cell(out, figure_kl(yardstick));
    put_cell(out, share(doc_number(domain, "kl"), yardstick));
    put_cell(out, figure_ratio(doc_number(domain, "ppl_ratio")));
    put_cell(out, figure_percent(doc_number(domain, "top1")));
    text_put(out, "</tr>\n");
}

void report_domains(text *out, const json_t *doc)
{
    static const char *const heads[] = {"tokens", "KL, nats per token", "yardstick's KL",
                                        "share",  "perplexity ratio",   "top-1"};
    const json_t *domains = json_object_get(doc, "domains"), *domain;
    size_t i;
    if (json_array_size(domains) == 0) return;
    text_put(out, "<section><h2>Domains</h2>\n<p>The chosen plan on each text.</p>\n<div "
                  "class=\"wide\"><table>\n<tr><th scope=\"col\">text</th>");
    put_number_heads(out, heads, 6);
    text_put(out, "</tr>\n");
    json_array_foreach(domains, i, domain) put_domain(out, domain);
    text_put(out, "</table></div></section>\n");
}
