/* report_doc_part.h - parts of the document that take some working out. All owned; NULL: out of memory. */
#ifndef CLI_REPORT_DOC_PART_H
#define CLI_REPORT_DOC_PART_H
#include "rivals.h"
#include "solution.h"

json_t *number_json(double x); /* null where x is not finite */
/* "layers" and "sensitivity" (report.h). */
json_t *layers_json(const solution *s);
json_t *sensitivity_json(const solution *s);
/* "fronts"; rivals may be NULL: the solution's own alone. *out is to be released after a failure too. */
kvc_status fronts_json(json_t **out, const solution *s, const rivals *rivals, kvc_error *err);
/* "predictions": of measured plans through each other, and of measured prices. */
json_t *predictions_json(const solution *s);
#endif
