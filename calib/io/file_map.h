/* file_map.h - a regular file mapped read-only. A file that shrinks while it is mapped is not provided for.
 */
#ifndef CALIB_IO_FILE_MAP_H
#define CALIB_IO_FILE_MAP_H
#include "kvc/kvc.h"

typedef struct file_map {
    const uint8_t *bytes; /* NULL if not open */
    size_t n;             /* > 0 */
} file_map;

/* KVC_INPUT for what is missing, empty, a folder, a pipe, or unreadable. */
kvc_status file_map_open(file_map *out, const char *path, kvc_error *err);
void file_map_close(file_map *m);
/* Let go of the resident pages that lie wholly in [begin, end); they are read again when touched. */
void file_map_release(const file_map *m, const void *begin, const void *end);
#endif
