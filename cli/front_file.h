/* front_file.h - the front of --front: JSON, or CSV where the name ends in .csv. */
#ifndef CLI_FRONT_FILE_H
#define CLI_FRONT_FILE_H
#include "solution.h"
kvc_status front_file_write(const solution *s, const char *path, kvc_error *err);
#endif
