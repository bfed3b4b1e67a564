/* report_doc_part.h - parts of the document that take some working out. All owned; NULL: out of memory. */
#ifndef CLI_REPORT_DOC_PART_H
#define CLI_REPORT_DOC_PART_H
#include "solution.h"

json_t *number_json(double x); /* null where x is not finite */
/* "layers" and "sensitivity" (report.h). */
json_t *layers_json(const solution *s);
json_t *sensitivity_json(const solution *s);
/* "predictions": of measured plans through each other, and of measured prices. */
json_t *predictions_json(const solution *s);
#endif
