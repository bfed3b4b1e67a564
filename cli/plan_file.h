/* plan_file.h - the chosen plan as plan.yaml. */
#ifndef CLI_PLAN_FILE_H
#define CLI_PLAN_FILE_H
#include "solution.h"
kvc_status plan_file_write(const solution *s, const char *path, kvc_error *err);
/* In KVTuner's form: KVC_LOSSY lists what it cannot hold. */
kvc_status plan_file_write_kvtuner(const solution *s, const char *path, kvc_error *err);
#endif
