/* input.c - a whole file into memory (output.h). Works for pipes, too: the buffer grows with what arrives. */
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Room for one byte past `room` (the NUL, and the byte that shows a file to be longer than max_bytes). */
static kvc_status read_growing(FILE *f, char **buffer, size_t *n, size_t room, size_t max_bytes, const char *path,
                               kvc_error *err)
{
    for (;;) {
        char *larger = realloc(*buffer, room + 1);
        if (!larger) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory for %zu bytes", path, room);
        *buffer = larger;
        errno = 0;
        *n += fread(*buffer + *n, 1, room + 1 - *n, f);
        if (ferror(f)) return kvc_fail(err, KVC_INPUT, "%s: cannot be read: %s", path, strerror(errno));
        if (*n > max_bytes)
            return kvc_fail(err, KVC_FORMAT, "%s: is larger than the limit of %zu bytes", path, max_bytes);
        if (*n <= room && feof(f)) break;
        room = room > max_bytes / 2 ? max_bytes : room * 2;
    }
    (*buffer)[*n] = '\0';
    return KVC_OK;
}

kvc_status input_read(char **out, size_t *n, const char *path, size_t max_bytes, kvc_error *err)
{
    *out = NULL;
    *n = 0;
    if (max_bytes == SIZE_MAX) max_bytes--;
    struct stat st;
    FILE *f = fopen(path, "rbe");
    if (!f || fstat(fileno(f), &st)) {
        kvc_status status = kvc_fail(err, KVC_INPUT, "%s: %s", path, strerror(errno));
        if (f) fclose(f);
        return status;
    }
    size_t room = st.st_size > 0 && (uint64_t)st.st_size < max_bytes ? (size_t)st.st_size : 4096;
    if (room > max_bytes) room = max_bytes;
    kvc_status status = S_ISDIR(st.st_mode) ? kvc_fail(err, KVC_INPUT, "%s: is a folder", path)
                                            : read_growing(f, out, n, room, max_bytes, path, err);
    fclose(f);
    if (status != KVC_OK) {
        free(*out);
        *out = NULL;
        *n = 0;
    }
    return status;
}
