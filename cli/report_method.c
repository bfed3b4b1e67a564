/* report_method.c - see report_method.h. */
#include "report_method.h"
#include "report_plot.h"
#include <string.h>

static const struct {
    const char *id, *name;
} known[] = {
    {"exact", "exact"},   {"refined", "refined"}, {"uniform", "uniform pairs"}, {"hadamard", "Hadamard INT4"},
    {"greedy", "greedy"}, {"random", "random"},   {"kvtuner", "KVTuner"},
};

enum { N_KNOWN = sizeof known / sizeof *known };

static void take(method_list *list, const json_t *objects)
{
    for (size_t i = 0; i < json_array_size(objects); i++) {
        const char *id = doc_text(json_array_get(objects, i), "method");
        size_t m = 0;
        while (id && m < list->n && strcmp(list->id[m], id) != 0) m++;
        if (!id || m < list->n || list->n == MAX_METHODS - 1) continue;
        list->id[m] = list->name[m] = id;
        list->n++;
    }
}

method_list methods_of(const json_t *doc)
{
    method_list list = {.n = N_KNOWN};
    for (size_t i = 0; i < N_KNOWN; i++) {
        list.id[i] = known[i].id;
        list.name[i] = known[i].name;
    }
    take(&list, json_object_get(doc, "fronts"));
    take(&list, json_object_get(doc, "results"));
    list.id[list.n] = list.name[list.n] = "other";
    list.n++;
    return list;
}

size_t method_index(const method_list *list, const json_t *object)
{
    const char *id = doc_text(object, "method");
    size_t m = 0;
    while (id && m < list->n && strcmp(list->id[m], id) != 0) m++;
    return id && m < list->n ? m : list->n - 1;
}

int method_style(size_t method)
{
    return (int)(method % PLOT_STYLES);
}
