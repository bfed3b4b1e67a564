/* report_method.h - the methods of a document: each has a name and a style of its own on every plot. */
#ifndef CLI_REPORT_METHOD_H
#define CLI_REPORT_METHOD_H
#include "report_text.h"

enum { MAX_METHODS = 32 };

/* Known ones first, in their fixed order, then others as they come; texts are borrowed from the document. */
typedef struct method_list {
    const char *id[MAX_METHODS], *name[MAX_METHODS];
    size_t n;
} method_list;

method_list methods_of(const json_t *doc);
/* Index of a point's or front's method; what is not in the list, or has none, counts as the last. */
size_t method_index(const method_list *list, const json_t *object);
/* Colour and shape, less than PLOT_STYLES. */
int method_style(size_t method);
#endif
