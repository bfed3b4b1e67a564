/* refine_file.h - the measurements of a refinement as JSON lines in the work directory, so that an interrupted one
 * goes on where it was. Line 1 says what they were measured on; every further line is one refine_record. */
#ifndef CLI_REFINE_FILE_H
#define CLI_REFINE_FILE_H
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include "kvc/kvc.h"
#include "refine.h"

typedef struct refine_file {
    char path[4096];
    FILE *stream;
    refine_record *records; /* of earlier runs */
    size_t n;
} refine_file;

/* With `resume` the records of a file whose first line equals `header` are read, as far as lines are whole (a killed
 * process may leave half a line), and new ones follow them. Otherwise the file begins anew. On failure `f` may be
 * closed. */
kvc_status refine_file_open(refine_file *f, const char *path, const json_t *header, bool resume, kvc_error *err);
kvc_status refine_file_add(refine_file *f, const refine_record *record, kvc_error *err);
void refine_file_close(refine_file *f);
#endif
