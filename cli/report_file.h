/* report_file.h - the page of --report. */
#ifndef CLI_REPORT_FILE_H
#define CLI_REPORT_FILE_H
#include "report_doc.h"
kvc_status report_file_write(const report_input *in, const char *path, kvc_error *err);
#endif
