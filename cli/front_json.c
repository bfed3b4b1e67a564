/* front_json.c - the front as JSON and CSV: a selection of its points, of which there are thousands. */
#include "solution.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The anchor that this plan is, sinks and window included, or n_anchors. */
static uint32_t measured(const solution *s, const front_point *point)
{
    const profile *p = s->profile;
    if (memcmp(&s->tokens, &p->tokens, sizeof s->tokens) != 0) return p->n_anchors;
    for (uint32_t a = 0; a < p->n_anchors; a++) {
        uint32_t i = 0;
        while (i < p->n_layers && p->anchors[a].key[i] == solution_candidate(s, point, 2 * i) &&
               p->anchors[a].value[i] == solution_candidate(s, point, 2 * i + 1))
            i++;
        if (i == p->n_layers) return a;
    }
    return p->n_anchors;
}

static bool is_chosen(const solution *s, const front_point *point)
{
    size_t bytes = s->priced.table.n_items * sizeof *point->choice;
    return s->chosen.choice && memcmp(point->choice, s->chosen.choice, bytes) == 0;
}

/* What the whole model was seen to lose: by the front's own method, or as an anchor; NaN: not measured. */
static double measured_kl(const solution *s, const front_point *point)
{
    bool own = point >= s->front.points && point < s->front.points + s->front.n;
    if (own && s->measured) return s->measured[point - s->front.points];
    uint32_t anchor = measured(s, point);
    return anchor < s->profile->n_anchors ? solution_anchor_kl(s, anchor) : NAN;
}

/* keep[i] for n points at equal distances in bytes, and for those that must not be missed. */
static void select_points(const solution *s, size_t n, bool *keep)
{
    const front *f = &s->front;
    double low = (double)f->points[0].bytes, high = (double)f->points[f->n - 1].bytes;
    for (size_t i = 0; i < n; i++) {
        double target = n > 1 ? low + (high - low) * (double)i / (double)(n - 1) : low;
        keep[front_at_bytes(f, (uint64_t)target) - f->points] = true;
    }
    keep[f->n - 1] = true;
    for (size_t i = 0; i < f->n; i++)
        keep[i] = keep[i] || is_chosen(s, &f->points[i]) || measured(s, &f->points[i]) < s->profile->n_anchors;
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *plan_json(const solution *s, const front_point *point)
{
    json_t *layers = json_array();
    const profile *p = s->profile;
    for (uint32_t i = 0; i < p->n_layers; i++) {
        char key[KVC_SPEC_MAX], value[KVC_SPEC_MAX];
        kvc_codec_format(&p->keys[solution_candidate(s, point, 2 * i)], key);
        kvc_codec_format(&p->values[solution_candidate(s, point, 2 * i + 1)], value);
        json_array_append_new(layers, json_pack("{s:I,s:s,s:s}", "layer", (json_int_t)i, "key", key, "value", value));
    }
    return json_pack("{s:o}", "layers", layers);
}

static json_t *point_json(const solution *s, const front_point *point, const char *method, bool chosen, bool brief)
{
    json_t *o = json_pack("{s:f,s:o}", "bits_per_value", solution_bits(s, point), "predicted_kl",
                          number(solution_kl(s, point)));
    if (brief) return o;
    json_object_set_new(o, "bytes_per_token", json_real((double)point->bytes / (double)s->context));
    json_object_set_new(o, "measured_kl", number(measured_kl(s, point)));
    json_object_set_new(o, "method", json_string(method));
    json_object_set_new(o, "chosen", json_boolean(chosen));
    json_object_set_new(o, "plan", plan_json(s, point));
    return o;
}

json_t *solution_front_json(const solution *s, size_t n, bool brief)
{
    json_t *list = json_array();
    bool *keep = calloc(s->front.n, sizeof *keep), found = false;
    if (!list || !keep) {
        json_decref(list);
        free(keep);
        return NULL;
    }
    select_points(s, n, keep);
    for (size_t i = 0; i < s->front.n; i++) {
        const front_point *point = &s->front.points[i];
        if (!keep[i]) continue;
        json_array_append_new(list, point_json(s, point, s->front_method, is_chosen(s, point), brief));
        found = found || is_chosen(s, point);
    }
    if (s->chosen.choice && !found) json_array_append_new(list, point_json(s, &s->chosen, s->method, true, brief));
    free(keep);
    return list;
}

json_t *solution_trials_json(const solution *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_trials; i++) {
        const policy_trial *t = &s->trials[i];
        json_array_append_new(list,
                              json_pack("{s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:b}", "sinks", (json_int_t)t->tokens.sinks,
                                        "window", (json_int_t)t->tokens.window, "bits_per_value", t->bits, "kl",
                                        t->kl, "kl_stderr", t->kl_stderr, "kl_late", t->kl_late, "kl_late_stderr",
                                        t->kl_late_stderr, "chosen", t->chosen));
    }
    return list;
}

/* An absent number is an empty field. */
static void put_number(FILE *out, const json_t *point, const char *key)
{
    const json_t *v = json_object_get(point, key);
    if (json_is_number(v)) fprintf(out, "%.9g", json_number_value(v));
    fputc(',', out);
}

/* "key/value;key/value;...", from layer 0 on; quoted, since specs may have commas. */
static void put_plan(FILE *out, const json_t *point)
{
    const json_t *layers = json_object_get(json_object_get(point, "plan"), "layers"), *layer;
    size_t i;
    fputc('"', out);
    json_array_foreach(layers, i, layer)
        fprintf(out, "%s%s/%s", i ? ";" : "", json_string_value(json_object_get(layer, "key")),
                json_string_value(json_object_get(layer, "value")));
    fputs("\"\n", out);
}

char *solution_front_csv(const solution *s, size_t n)
{
    static const char *const numbers[] = {"bits_per_value", "bytes_per_token", "predicted_kl", "measured_kl"};
    json_t *list = solution_front_json(s, n, false), *point;
    char *text = NULL;
    size_t bytes, i;
    FILE *out = list ? open_memstream(&text, &bytes) : NULL;
    if (out) fputs("bits_per_value,bytes_per_token,predicted_kl,measured_kl,method,chosen,plan\n", out);
    for (i = 0; out && i < json_array_size(list); i++) {
        point = json_array_get(list, i);
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) put_number(out, point, numbers[k]);
        fprintf(out, "%s,%s,", json_string_value(json_object_get(point, "method")),
                json_is_true(json_object_get(point, "chosen")) ? "true" : "false");
        put_plan(out, point);
    }
    json_decref(list);
    if (out && fclose(out) == 0) return text;
    free(text);
    return NULL;
}
