/* report_map.c - what each layer's keys and values lose, and what they were given: heat maps, then a table. */
#include "report_axis.h"
#include "report_part.h"
#include <math.h>

enum { N_SHADES = 9 };

/* One heat map: a field of each layer's sides, in shades of one colour. */
typedef struct map {
    text *out;
    const json_t *layers;
    const char *field, *title, *colour;
    figure (*format)(double);
    bool figures; /* in the cells */
    range range;
} map;

static const json_t *side_of(const json_t *layers, size_t layer, bool values)
{
    return json_object_get(json_array_get(layers, layer), values ? "value" : "key");
}

/* Equal ratios are equal steps. Zero is the lightest. */
static int shade(const map *m, double x)
{
    if (!(x > m->range.low)) return 0;
    double part = (log(x) - log(m->range.low)) / (log(m->range.high) - log(m->range.low));
    return (int)fmin(part * N_SHADES, N_SHADES - 1);
}

static void take_range(map *m)
{
    m->range = range_none();
    for (size_t i = 0; i < 2 * json_array_size(m->layers); i++)
        range_take_positive(&m->range, doc_number(side_of(m->layers, i / 2, i % 2), m->field));
}

static void put_cell(const map *m, size_t layer, bool values)
{
    const json_t *side = side_of(m->layers, layer, values);
    const char *spec = doc_text(side, "spec");
    double x = doc_number(side, m->field);
    if (isnan(x)) {
        text_put(m->out, "<td></td>");
        return;
    }
    text_put(m->out, "<td class=\"%s%d\" title=\"layer %zu %s: %s%s%s\">", m->colour, shade(m, x), layer,
             values ? "values" : "keys", m->format(x).s, spec ? ", " : "", spec ? spec : "");
    if (m->figures) text_put(m->out, "%s", figure_short(x).s);
    text_put(m->out, "</td>");
}

static void put_row(const map *m, bool values)
{
    text_put(m->out, "<tr><th scope=\"row\">%s</th>", values ? "values" : "keys");
    for (size_t i = 0; i < json_array_size(m->layers); i++) put_cell(m, i, values);
    text_put(m->out, "</tr>\n");
}

/* The shades from the least to the largest value. */
static void put_scale(const map *m)
{
    text_put(m->out, "<p class=\"scale\">%s <span>%s</span>", m->title, m->format(m->range.low).s);
    for (int i = 0; i < N_SHADES; i++) text_put(m->out, "<i class=\"%s%d\"></i>", m->colour, i);
    text_put(m->out, "<span>%s</span></p>\n", m->format(m->range.high).s);
}

static void put_map(map *m)
{
    take_range(m);
    if (isnan(m->range.low)) return;
    put_scale(m);
    text_put(m->out, "<div class=\"wide\"><table class=\"map\">\n<tr><th scope=\"col\">layer</th>");
    for (size_t i = 0; i < json_array_size(m->layers); i++) text_put(m->out, "<th scope=\"col\">%zu</th>", i);
    text_put(m->out, "</tr>\n");
    put_row(m, false);
    put_row(m, true);
    text_put(m->out, "</table></div>\n");
}

static void put_side(text *out, const json_t *side)
{
    const char *spec = doc_text(side, "spec");
    text_put(out, "<td><code>%s</code></td><td class=\"n\">%s</td><td class=\"n\">%s</td>",
             spec ? spec : "\xe2\x80\x93", figure_bits(doc_number(side, "bits")).s,
             figure_kl(doc_number(side, "sensitivity")).s);
}

static void put_rows(text *out, const json_t *layers, size_t begin, size_t end)
{
    text_put(out, "<div class=\"wide\"><table>\n<tr><th scope=\"col\" class=\"n\">layer</th>");
    for (int values = 0; values < 2; values++)
        text_put(out,
                 "<th scope=\"col\">%s</th><th scope=\"col\" class=\"n\">bits</th><th scope=\"col\" "
                 "class=\"n\">sensitivity</th>",
                 values ? "values" : "keys");
    text_put(out, "</tr>\n");
    for (size_t i = begin; i < end; i++) {
        text_put(out, "<tr><td class=\"n\">%zu</td>", i);
        put_side(out, side_of(layers, i, false));
        put_side(out, side_of(layers, i, true));
        text_put(out, "</tr>\n");
    }
    text_put(out, "</table></div>\n");
}

/* In two halves, side by side where the page is wide enough. */
static void put_table(text *out, const json_t *layers)
{
    size_t n = json_array_size(layers), half = n > 8 ? (n + 1) / 2 : n;
    text_put(out, "<details open=\"\"><summary>Each layer</summary><div class=\"halves\">\n");
    put_rows(out, layers, 0, half);
    if (half < n) put_rows(out, layers, half, n);
    text_put(out, "</div></details>\n");
}

static void put_meaning(text *out, const json_t *sensitivity)
{
    const char *measure = doc_text(sensitivity, "measure"), *key = doc_text(sensitivity, "key"),
               *value = doc_text(sensitivity, "value");
    if (!measure) return;
    text_put(out, "<p>Sensitivity: %s", measure);
    if (key && value) text_put(out, ", keys as <code>%s</code>, values as <code>%s</code>", key, value);
    text_put(out, ". Bits: codes and metadata, the window apart.</p>\n");
}

void report_layers(text *out, const json_t *doc)
{
    const json_t *layers = json_object_get(doc, "layers");
    if (json_array_size(layers) == 0) return;
    text_put(out, "<section><h2>Layers</h2>\n");
    put_meaning(out, json_object_get(doc, "sensitivity"));
    put_map(&(map){out, layers, "sensitivity", "sensitivity", "a", figure_kl, false, {0, 0}});
    put_map(&(map){out, layers, "bits", "bits per value", "b", figure_bits, true, {0, 0}});
    put_table(out, layers);
    text_put(out, "</section>\n");
}
