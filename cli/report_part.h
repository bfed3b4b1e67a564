/* report_part.h - the sections of the page, each a file; a section without anything to show writes nothing. */
#ifndef CLI_REPORT_PART_H
#define CLI_REPORT_PART_H
#include "report_text.h"

void report_front(text *out, const json_t *doc);      /* fronts and measured plans, plotted */
void report_layers(text *out, const json_t *doc);     /* heat maps and the table of the decision */
void report_pairs(text *out, const json_t *doc);      /* predicted against measured */
void report_results(text *out, const json_t *doc);    /* measured plans as a table */
void report_domains(text *out, const json_t *doc);    /* the chosen plan on each text */
void report_provenance(text *out, const json_t *doc); /* model, text, options */

/* The result that is flagged so; NULL where none is. Borrowed. */
const json_t *report_flagged(const json_t *doc, const char *flag);
#endif
