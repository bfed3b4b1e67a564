/* output.h - outputs that are whole or absent: written to a temporary file in the target's folder, then renamed.
 * A symbolic link is followed; a target that exists and is no regular file is refused. */
#ifndef CALIB_IO_OUTPUT_H
#define CALIB_IO_OUTPUT_H
#include <stdio.h>
#include "kvc/kvc.h"

typedef struct output output;
kvc_status output_open(output **out, const char *path, kvc_error *err);
FILE *output_stream(output *o);
/* n bytes to the stream; KVC_IO names the target and the cause. */
kvc_status output_put(output *o, const void *bytes, size_t n, kvc_error *err);
const char *output_temp_path(const output *o); /* for libraries that open files by name (HDF5) */
/* Flush, fsync, rename; consumes `o` whatever the result. A full disk is KVC_IO and leaves no file. */
kvc_status output_commit(output *o, kvc_error *err);
void output_discard(output *o); /* NULL is fine; removes the temporary file */
kvc_status output_write(const char *path, const void *bytes, size_t n, kvc_error *err);
/* Remove the temporary files of all outputs still open; only unlink(2), so that a signal handler may call it. */
void output_discard_all(void);

/* Whole file into memory, NUL-terminated. Owned: free(). */
kvc_status input_read(char **out, size_t *n, const char *path, size_t max_bytes, kvc_error *err);
#endif
