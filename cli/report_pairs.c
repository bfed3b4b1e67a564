/* report_pairs.c - predicted against measured: one plot of all sets of pairs, and how well each set was predicted. */
#include "report_part.h"
#include "report_plot.h"
#include "report_rank.h"
#include <math.h>
#include <stdlib.h>

enum { MOST_LISTED = 40 }; /* pairs of a longer set are on the plot alone */

/* The pairs of one set of which both numbers are known. */
typedef struct pair_set {
    const json_t **pairs; /* [n]; the array is owned */
    rank_pair *values;    /* [n] */
    size_t n;
    rank_summary summary;
} pair_set;

static void free_set(pair_set *set)
{
    free(set->pairs);
    free(set->values);
}

static bool read_set(pair_set *out, const json_t *set)
{
    const json_t *list = json_object_get(set, "pairs"), *pair;
    size_t room = json_array_size(list) + 1, i;
    *out = (pair_set){.pairs = malloc(room * sizeof *out->pairs), .values = malloc(room * sizeof *out->values)};
    if (!out->pairs || !out->values) return false;
    json_array_foreach(list, i, pair)
    {
        rank_pair v = {doc_number(pair, "predicted"), doc_number(pair, "measured")};
        if (isnan(v.predicted) || isnan(v.measured)) continue;
        out->pairs[out->n] = pair;
        out->values[out->n++] = v;
    }
    return rank_summarise(&out->summary, out->values, out->n);
}

static const char *name_of(const json_t *object)
{
    const char *name = doc_text(object, "name");
    return name ? name : "unnamed";
}

static void put_marks(const plot *p, int style, const pair_set *set)
{
    text_put(p->out, "<g class=\"%s\">\n", set->n > MOST_LISTED ? "dense" : "sparse");
    for (size_t i = 0; i < set->n; i++) {
        plot_point at = {set->values[i].predicted, set->values[i].measured};
        double error = doc_number(set->pairs[i], "stderr");
        plot_error(p, style, at, error);
        plot_mark(p, style, false, at, "%s: predicted %s, measured %s \xc2\xb1 %s", name_of(set->pairs[i]),
                  figure_kl(at.x).s, figure_kl(at.y).s, figure_error(error).s);
    }
    text_put(p->out, "</g>\n");
}

/* The first set is drawn last, above the others. */
static void put_plot(text *out, const pair_set *sets, size_t n)
{
    range r = range_none();
    for (size_t s = 0; s < n; s++)
        for (size_t i = 0; i < sets[s].n; i++) {
            range_take_positive(&r, sets[s].values[i].predicted);
            range_take_positive(&r, sets[s].values[i].measured);
        }
    plot p = {out, axis_fit(AXIS_LOSS, r), axis_fit(AXIS_LOSS, r)};
    plot_begin(&p, "Measured against predicted KL", "predicted KL", "measured KL, nats per token");
    plot_diagonal(&p);
    for (size_t s = n; s-- > 0;) put_marks(&p, (int)(s % PLOT_STYLES), &sets[s]);
    plot_end(&p);
}

static void put_miss(text *out, double ratio)
{
    double miss = fmax(ratio, 1 / ratio);
    if (isnan(ratio))
        text_put(out, "\xe2\x80\x93");
    else if (miss < 1.005)
        text_put(out, "right");
    else
        text_put(out, "%s times too %s", figure_kl(miss).s, ratio < 1 ? "high" : "low");
}

static void put_summary(text *out, const json_t *object, const pair_set *set, int style)
{
    text_put(out, "<tr><td>");
    plot_sample_mark(out, style, false);
    text_put(out, "%s</td><td class=\"n\">%zu</td><td class=\"n\">%s</td><td class=\"n\">%s</td><td class=\"free\">",
             name_of(object), set->n, figure_correlation(set->summary.correlation).s,
             figure_kl(set->summary.median_miss).s);
    if (set->summary.worst < set->n) {
        put_miss(out, rank_ratio(set->values[set->summary.worst]));
        text_put(out, ": %s", name_of(set->pairs[set->summary.worst]));
    }
    text_put(out, "</td></tr>\n");
}

static void put_list(text *out, const json_t *object, const pair_set *set)
{
    if (set->n == 0 || set->n > MOST_LISTED) return;
    text_put(out,
             "<div class=\"wide\"><table><tr><th scope=\"col\">%s</th><th scope=\"col\" class=\"n\">predicted</th>"
             "<th scope=\"col\" class=\"n\">measured</th><th scope=\"col\" class=\"n\">\xc2\xb1</th>"
             "<th scope=\"col\">prediction</th></tr>\n",
             name_of(object));
    for (size_t i = 0; i < set->n; i++) {
        text_put(out, "<tr><td>%s</td><td class=\"n\">%s</td><td class=\"n\">%s</td><td class=\"n\">%s</td><td>",
                 name_of(set->pairs[i]), figure_kl(set->values[i].predicted).s, figure_kl(set->values[i].measured).s,
                 figure_error(doc_number(set->pairs[i], "stderr")).s);
        put_miss(out, rank_ratio(set->values[i]));
        text_put(out, "</td></tr>\n");
    }
    text_put(out, "</table></div>\n");
}

static void put_section(text *out, const json_t *objects, const pair_set *sets, size_t n)
{
    text_put(out, "<section><h2>Predicted and measured</h2>\n<div class=\"plots even\">\n");
    put_plot(out, sets, n);
    text_put(out, "<div><p>Rank correlation is Spearman's; misses are ratios of the two.</p>\n"
                  "<div class=\"wide\"><table><tr><th scope=\"col\">set</th><th scope=\"col\" class=\"n\">pairs</th>"
                  "<th scope=\"col\" class=\"n\">rank correlation</th><th scope=\"col\" class=\"n\">median miss</th>"
                  "<th scope=\"col\">worst prediction</th></tr>\n");
    for (size_t s = 0; s < n; s++) put_summary(out, json_array_get(objects, s), &sets[s], (int)(s % PLOT_STYLES));
    text_put(out, "</table></div>\n");
    for (size_t s = 0; s < n; s++) put_list(out, json_array_get(objects, s), &sets[s]);
    text_put(out, "</div></div></section>\n");
}

void report_pairs(text *out, const json_t *doc)
{
    const json_t *objects = json_object_get(doc, "predictions");
    size_t n = json_array_size(objects), n_pairs = 0, read = 0;
    pair_set *sets = calloc(n + 1, sizeof *sets);
    while (sets && read < n && read_set(&sets[read], json_array_get(objects, read))) n_pairs += sets[read++].n;
    if (read < n || !sets)
        out->failed = true;
    else if (n_pairs)
        put_section(out, objects, sets, n);
    for (size_t s = 0; sets && s < n; s++) free_set(&sets[s]);
    free(sets);
}
