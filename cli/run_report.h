/* run_report.h - what `run` says when it is done. */
#ifndef CLI_RUN_REPORT_H
#define CLI_RUN_REPORT_H
#include "config_image.h"
#include "score.h"
#include "solution.h"
#include "workdir.h"
void run_report(const settings *s, const config_image *image, const solution *solution, const eval_result *r,
                const workdir *w);
#endif
