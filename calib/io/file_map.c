#include "file_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static kvc_status map_descriptor(file_map *out, int fd, const char *path, kvc_error *err)
{
    struct stat st;
    if (fstat(fd, &st)) return kvc_fail(err, KVC_INPUT, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode)) return kvc_fail(err, KVC_INPUT, "%s: is no regular file", path);
    if (st.st_size == 0) return kvc_fail(err, KVC_INPUT, "%s: is empty", path);
    if ((uint64_t)st.st_size > SIZE_MAX) return kvc_fail(err, KVC_NO_MEMORY, "%s: is too large to be mapped", path);
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) return kvc_fail(err, KVC_INPUT, "%s: cannot be mapped: %s", path, strerror(errno));
    *out = (file_map){bytes, (size_t)st.st_size};
    return KVC_OK;
}

kvc_status file_map_open(file_map *out, const char *path, kvc_error *err)
{
    *out = (file_map){NULL, 0};
    int fd = open(path, O_RDONLY | O_NONBLOCK |
                            O_CLOEXEC); /* O_NONBLOCK: a pipe without a writer is refused, not waited for */
    if (fd < 0) return kvc_fail(err, KVC_INPUT, "%s: %s", path, strerror(errno));
    kvc_status status = map_descriptor(out, fd, path, err);
    close(fd);
    return status;
}

void file_map_close(file_map *m)
{
    if (m->bytes) munmap((void *)m->bytes, m->n);
    *m = (file_map){NULL, 0};
}

void file_map_release(const file_map *m, const void *begin, const void *end)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)begin + page - 1) / page * page;
    uintptr_t last = (uintptr_t)end / page * page;
    if (end == m->bytes + m->n) last = ((uintptr_t)end + page - 1) / page * page; /* the map's own last page */
    if (first < last) madvise((void *)first, last - first, MADV_DONTNEED);
}
