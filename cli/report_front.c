/* report_front.c - the front of every method: true bits against KL and against the perplexity ratio. */
#include "report_method.h"
#include "report_part.h"
#include "report_plot.h"
#include <math.h>
#include <stdlib.h>

/* One of the two plots: which field of a result it shows. */
typedef struct view {
    plot plot;
    const json_t *doc;
    const method_list *methods;
    bool excess; /* of the perplexity ratio over 1; else KL */
} view;

static plot_point result_point(const view *v, const json_t *result)
{
    double y = v->excess ? doc_number(result, "ppl_ratio") - 1 : doc_number(result, "kl");
    return (plot_point){doc_number(result, "bits"), y};
}

static plot_point front_point_at(const json_t *point)
{
    return (plot_point){doc_number(point, "bits"), doc_number(point, "kl")};
}

/* The chosen plan as measured, else as predicted; on the plot of perplexities only as measured. */
static plot_point chosen_point(const view *v)
{
    const json_t *result = report_flagged(v->doc, "chosen"), *chosen = json_object_get(v->doc, "chosen");
    if (result || v->excess) return result_point(v, result);
    return (plot_point){doc_number(chosen, "bits"), doc_number(chosen, "predicted_kl")};
}

static void take_point(range *x, range *y, plot_point at, double error)
{
    if (isnan(at.x) || isnan(at.y)) return;
    range_take(x, at.x);
    range_take_positive(y, at.y);
    range_take_positive(y, at.y - error);
    range_take_positive(y, at.y + error);
}

/* Both axes, from everything that the plot shows. False: nothing to show. */
static bool fit_axes(view *v)
{
    range x = range_none(), y = range_none();
    const json_t *front, *result, *point;
    size_t i, j;
    json_array_foreach(json_object_get(v->doc, "results"), i, result)
        take_point(&x, &y, result_point(v, result), v->excess ? NAN : doc_number(result, "kl_stderr"));
    json_array_foreach(json_object_get(v->doc, "fronts"), i, front)
        json_array_foreach(json_object_get(front, "points"), j, point) if (!v->excess)
            take_point(&x, &y, front_point_at(point), NAN);
    take_point(&x, &y, chosen_point(v), NAN);
    v->plot.x = axis_fit(AXIS_BITS, x);
    v->plot.y = axis_fit(v->excess ? AXIS_EXCESS : AXIS_LOSS, y);
    return !isnan(x.low);
}

static void put_front(const view *v, const json_t *front)
{
    const json_t *points = json_object_get(front, "points");
    size_t n = json_array_size(points);
    plot_point *at = malloc((n + 1) * sizeof *at);
    v->plot.out->failed = v->plot.out->failed || !at;
    for (size_t i = 0; at && i < n; i++) at[i] = front_point_at(json_array_get(points, i));
    if (at) plot_line(&v->plot, method_style(method_index(v->methods, front)), at, n);
    free(at);
}

static void put_result(const view *v, const json_t *result)
{
    size_t method = method_index(v->methods, result);
    int style = method_style(method);
    const char *name = doc_text(result, "name");
    double error = doc_number(result, "kl_stderr");
    plot_point at = result_point(v, result);
    if (!v->excess) plot_error(&v->plot, style, at, error);
    plot_mark(&v->plot, style, doc_true(result, "calibration"), at,
              "%s (%s): %s bits, KL %s \xc2\xb1 %s, perplexity ratio %s", name ? name : "plan",
              v->methods->name[method], figure_bits(at.x).s, figure_kl(doc_number(result, "kl")).s,
              figure_error(error).s, figure_ratio(doc_number(result, "ppl_ratio")).s);
}

static void put_view(view *v)
{
    const json_t *front, *results = json_object_get(v->doc, "results");
    size_t i;
    char label[64];
    if (!fit_axes(v)) return;
    plot_begin(&v->plot, v->excess ? "Perplexity ratio against bits per value" : "KL against bits per value",
               "true bits per value", v->excess ? "perplexity ratio" : "KL, nats per token");
    json_array_foreach(json_object_get(v->doc, "fronts"), i, front) if (!v->excess) put_front(v, front);
    for (i = json_array_size(results); i-- > 0;) put_result(v, json_array_get(results, i)); /* the first on top */
    plot_point chosen = chosen_point(v);
    snprintf(label, sizeof label, "%s bits", figure_bits(chosen.x).s);
    plot_choose(&v->plot, chosen, label);
    plot_end(&v->plot);
}

/* What there is of a method. */
enum { PREDICTED_FRONT, MEASURED_FRONT, PLANS, CALIBRATION_PLANS, KINDS };

static bool has(const view *v, size_t method, int kind)
{
    bool plans = kind >= PLANS, flagged = kind == MEASURED_FRONT || kind == CALIBRATION_PLANS;
    const json_t *object;
    size_t i;
    json_array_foreach(json_object_get(v->doc, plans ? "results" : "fronts"), i,
                       object) if (method_index(v->methods, object) == method &&
                                   doc_true(object, plans ? "calibration" : "measured") == flagged) return true;
    return false;
}

static void put_legend(const view *v)
{
    static const char *const suffix[KINDS] = {", predicted", ", measured on calibration text", "",
                                              ", on calibration text"};
    text_put(v->plot.out, "<ul class=\"legend\">\n");
    for (size_t m = 0; m < v->methods->n; m++)
        for (int kind = 0; kind < KINDS; kind++) {
            if (!has(v, m, kind)) continue;
            text_put(v->plot.out, "<li>");
            if (kind >= PLANS)
                plot_sample_mark(v->plot.out, method_style(m), kind == CALIBRATION_PLANS);
            else
                plot_sample_line(v->plot.out, method_style(m));
            text_put(v->plot.out, "%s%s</li>\n", v->methods->name[m], suffix[kind]);
        }
    if (!isnan(chosen_point(v).x)) {
        text_put(v->plot.out, "<li>");
        plot_sample_chosen(v->plot.out);
        text_put(v->plot.out, "chosen</li>\n");
    }
    text_put(v->plot.out, "</ul>\n");
}

void report_front(text *out, const json_t *doc)
{
    method_list methods = methods_of(doc);
    view kl = {.plot.out = out, .doc = doc, .methods = &methods}, ratio = kl;
    const char *missing = doc_text(doc, "without_kvtuner");
    ratio.excess = true;
    if (!fit_axes(&kl)) return;
    text_put(
        out,
        "<section><h2>Front</h2>\n<p>Cache size against loss. Bars: one standard error over tokens. "
        "KL depends on the text: compare markers of one kind. What lies on the lower edge belongs below it.</p>\n");
    if (missing) text_put(out, "<p>KVTuner's search has no front here: %s.</p>\n", missing);
    put_legend(&kl);
    text_put(out, "<div class=\"plots\">\n");
    put_view(&kl);
    put_view(&ratio);
    text_put(out, "</div></section>\n");
}
