/* output.c - whole-or-absent outputs.
 * The temporary file is the target's name with ".tmp-<pid>-<n>": same folder, so that rename(2) is atomic.
 * Names of open temporaries also stand in a fixed table of atomic pointers, which a signal handler can walk.
 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct output {
    char *target; /* links resolved */
    char *temp;
    FILE *stream;
    int slot; /* in open_temps */
};

enum { MAX_OPEN = 64 };
static _Atomic(char *) open_temps[MAX_OPEN];
static atomic_uint next_number;

static int slot_take(char *temp)
{
    for (int i = 0; i < MAX_OPEN; i++) {
        char *expected = NULL;
        if (atomic_compare_exchange_strong(&open_temps[i], &expected, temp)) return i;
    }
    return -1;
}

void output_discard_all(void)
{
    for (int i = 0; i < MAX_OPEN; i++) {
        const char *temp = atomic_load(&open_temps[i]);
        if (temp) unlink(temp);
    }
}

static void output_free(output *o)
{
    if (o->slot >= 0) atomic_store(&open_temps[o->slot], NULL);
    free(o->target);
    free(o->temp);
    free(o);
}

/* The file that a write to `path` would change, in *target (owned). */
static kvc_status resolve_target(char **target, const char *path, kvc_error *err)
{
    struct stat st;
    if (stat(path, &st) == 0) {
        if (!S_ISREG(st.st_mode)) return kvc_fail(err, KVC_IO, "%s: exists and is no regular file", path);
        *target = realpath(path, NULL);
    } else {
        *target = strdup(path);
    }
    if (!*target) return kvc_fail(err, KVC_IO, "%s: %s", path, strerror(errno));
    return KVC_OK;
}

/* A new file beside the target. A name may be taken by what a killed process of the same number left behind. */
static int open_temp(output *o)
{
    for (int tries = 0; tries < 1000; tries++) {
        unsigned number = atomic_fetch_add(&next_number, 1);
        free(o->temp);
        if (asprintf(&o->temp, "%s.tmp-%ld-%u", o->target, (long)getpid(), number) < 0) {
            o->temp = NULL;
            errno = ENOMEM;
            return -1;
        }
        int fd = open(o->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

static kvc_status create_temp(output *o, const char *path, kvc_error *err)
{
    int fd = open_temp(o);
    if (fd < 0) return kvc_fail(err, KVC_IO, "%s: cannot be written: %s", path, strerror(errno));
    o->slot = slot_take(o->temp);
    o->stream = o->slot < 0 ? NULL : fdopen(fd, "w+");
    if (o->stream) return KVC_OK;
    int cause = errno;
    close(fd);
    unlink(o->temp);
    if (o->slot < 0) return kvc_fail(err, KVC_IO, "%s: more than %d outputs are open", path, MAX_OPEN);
    return kvc_fail(err, KVC_IO, "%s: cannot be written: %s", path, strerror(cause));
}

kvc_status output_open(output **out, const char *path, kvc_error *err)
{
    *out = NULL;
    output *o = calloc(1, sizeof *o);
    if (!o) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", path);
    o->slot = -1;
    kvc_status status = resolve_target(&o->target, path, err);
    if (status == KVC_OK) status = create_temp(o, path, err);
    if (status == KVC_OK) {
        *out = o;
    } else {
        output_free(o);
    }
    return status;
}

FILE *output_stream(output *o)
{
    return o->stream;
}
const char *output_temp_path(const output *o)
{
    return o->temp;
}

/* A library may have replaced the file behind the name (HDF5 truncates it in place): sync what the name
 * shows. */
static int sync_named(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = fsync(fd), cause = errno;
    close(fd);
    errno = cause;
    return result;
}

/* So that files renamed one after the other also survive a power cut in that order. Not every file system can. */
static void sync_folder(const char *target)
{
    const char *slash = strrchr(target, '/');
    char *folder = slash ? strndup(target, slash == target ? 1 : (size_t)(slash - target)) : strdup(".");
    if (folder) sync_named(folder);
    free(folder);
}

static int finish(output *o)
{
    errno = 0;
    int failed = ferror(o->stream), cause = EIO;
    if (fflush(o->stream)) failed = 1, cause = errno;
    if (fclose(o->stream) && !failed) failed = 1, cause = errno;
    o->stream = NULL;
    if (failed) return cause;
    if (sync_named(o->temp) || rename(o->temp, o->target)) return errno;
    sync_folder(o->target);
    return 0;
}

kvc_status output_commit(output *o, kvc_error *err)
{
    int cause = finish(o);
    kvc_status status = KVC_OK;
    if (cause) {
        unlink(o->temp);
        status = kvc_fail(err, KVC_IO, "%s: cannot be written: %s", o->target, strerror(cause));
    }
    output_free(o);
    return status;
}

void output_discard(output *o)
{
    if (!o) return;
    fclose(o->stream);
    unlink(o->temp);
    output_free(o);
}

kvc_status output_put(output *o, const void *bytes, size_t n, kvc_error *err)
{
    errno = 0;
    if (n == 0 || fwrite(bytes, 1, n, o->stream) == n) return KVC_OK;
    return kvc_fail(err, KVC_IO, "%s: cannot be written: %s", o->target, strerror(errno));
}

kvc_status output_write(const char *path, const void *bytes, size_t n, kvc_error *err)
{
    output *o;
    KVC_TRY(output_open(&o, path, err));
    kvc_status status = output_put(o, bytes, n, err);
    if (status == KVC_OK) return output_commit(o, err);
    output_discard(o);
    return status;
}
