/* render_report.c - a document on standard input, its page on standard output: the renderer alone, for
 * test_report.py. */
#include <stdio.h>
#include <stdlib.h>
#include "report.h"

int main(void)
{
    char *html = NULL;
    kvc_error err = {0};
    json_error_t why;
    json_t *doc = json_loadf(stdin, 0, &why);
    if (!doc) {
        fprintf(stderr, "line %d: %s\n", why.line, why.text);
        return 3;
    }
    kvc_status status = report_render(doc, &html, &err);
    if (status == KVC_OK) fputs(html, stdout);
    free(html);
    json_decref(doc);
    return status == KVC_OK && fflush(stdout) == 0 ? 0 : 1;
}
