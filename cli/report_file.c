/* report_file.c - see report_file.h. */
#include "report_file.h"
#include "output.h"
#include "report.h"
#include <stdlib.h>
#include <string.h>

kvc_status report_file_write(const report_input *in, const char *path, kvc_error *err)
{
    json_t *doc = NULL;
    char *html = NULL;
    KVC_TRY(report_doc(&doc, in, err));
    kvc_status status = report_render(doc, &html, err);
    json_decref(doc);
    if (status == KVC_OK) status = output_write(path, html, strlen(html), err);
    free(html);
    return status;
}
