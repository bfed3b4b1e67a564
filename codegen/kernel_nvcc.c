/* kernel_nvcc.c - kernels by nvcc, several at a time, each a process of its own without a shell. Images go into a
 * private temporary folder and from there to take(); messages into unnamed files. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "kernel_build_parts.h"
#include "kernel_template.h"

enum { MOST_PARALLEL = 64, POLL_NANOSECONDS = 5000000, LONGEST_LOG = 1 << 16 };
#define MOST_IMAGE ((off_t)1 << 28)

extern char **environ;

/* ---- where nvcc is ---- */

static char *absolute(const char *path)
{
    char *out = NULL, *here = *path == '/' ? NULL : getcwd(NULL, 0);
    if (*path == '/') return strdup(path);
    if (here && asprintf(&out, "%s/%s", here, path) < 0) out = NULL;
    free(here);
    return out;
}

/* An absolute path, if that is a program. */
static char *program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0 ? absolute(path) : NULL;
}

static char *program_in(const char *folder, size_t n, const char *name)
{
    char path[4096];
    if (n == 0 || (size_t)snprintf(path, sizeof path, "%.*s/%s", (int)n, folder, name) >= sizeof path) return NULL;
    return program(path);
}

static char *on_path(const char *name)
{
    const char *path = getenv("PATH");
    char *found = NULL;
    while (path && *path && !found) {
        size_t n = strcspn(path, ":");
        found = program_in(path, n, name);
        path += n + (path[n] == ':');
    }
    return found;
}

char *kernel_nvcc_find(void)
{
    const char *asked = getenv("CUDACXX"), *home = getenv("CUDA_HOME");
    char *found = NULL;
    if (asked) found = strchr(asked, '/') ? program(asked) : on_path(asked);
    if (!found) found = on_path("nvcc");
    if (!found && home) found = program_in(home, strlen(home), "bin/nvcc");
    return found;
}

/* ---- one compilation ---- */

typedef struct run {
    pid_t pid; /* 0: none */
    uint32_t job;
    FILE *messages;
    char image[4200];
} run;

typedef struct build {
    const char *nvcc;
    const kernel_job *jobs;
    const kernel_build_options *o;
    char folder[4096]; /* of images */
    run runs[MOST_PARALLEL];
} build;

/* A group of its own: what nvcc starts can be ended with it. */
static int spawn(const build *b, const run *r, char **argv, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t restored;
    int fd = fileno(r->messages);
    sigemptyset(&restored);
    sigaddset(&restored, SIGPIPE);
    sigaddset(&restored, SIGXFSZ);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigdefault(&attributes, &restored);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fd, STDERR_FILENO);
    posix_spawn_file_actions_addchdir_np(&actions, b->o->folder);
    int cause = posix_spawn(pid, b->nvcc, &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return cause;
}

static kvc_status start(build *b, run *r, uint32_t job, kvc_error *err)
{
    const kernel_job *j = &b->jobs[job];
    char arch[64], params[192];
    uint32_t compute = b->o->target->compute;
    r->job = job;
    snprintf(arch, sizeof arch, "arch=compute_%u,code=[sm_%u,compute_%u]", compute, compute, compute);
    snprintf(params, sizeof params, "-DATTEND_PARAMS=\"%s.h\"", j->name);
    snprintf(r->image, sizeof r->image, "%s/%u.fatbin", b->folder, job);
    char *argv[] = {(char *)b->nvcc,      "-fatbin", "-O3",    "-std=c++17", "-gencode", arch, "-I.", params,
                    KERNEL_TEMPLATE_MAIN, "-o",      r->image, NULL};
    r->messages = tmpfile();
    int cause = r->messages ? spawn(b, r, argv, &r->pid) : errno;
    if (!cause) return KVC_OK;
    if (r->messages) fclose(r->messages);
    r->pid = 0;
    return kvc_fail(err, KVC_IO, "%s: %s cannot be run: %s", j->name, b->nvcc, strerror(cause));
}

static void end(run *r)
{
    unlink(r->image);
    fclose(r->messages);
    r->pid = 0;
}

static kvc_status read_image(const char *path, const char *name, void **bytes, size_t *n, kvc_error *err)
{
    struct stat st;
    FILE *in = fopen(path, "rb");
    *bytes = NULL, *n = 0;
    bool sized = in && fstat(fileno(in), &st) == 0 && st.st_size > 0 && st.st_size <= MOST_IMAGE;
    if (sized) *bytes = malloc(*n = (size_t)st.st_size);
    bool whole = *bytes && fread(*bytes, 1, *n, in) == *n;
    if (in) fclose(in);
    if (whole) return KVC_OK;
    free(*bytes);
    return kvc_fail(err, KVC_IO, "%s: the image that nvcc wrote (%s) cannot be read", name, path);
}

static kvc_status judge(const build *b, const run *r, int how, kvc_error *err)
{
    const char *name = b->jobs[r->job].name;
    char log[LONGEST_LOG];
    void *bytes;
    size_t n;
    if (WIFSIGNALED(how)) return kvc_fail(err, KVC_IO, "%s: nvcc was ended by signal %d", name, WTERMSIG(how));
    rewind(r->messages);
    if (WEXITSTATUS(how)) return kernel_log_fail(name, "nvcc", log, fread(log, 1, sizeof log, r->messages), err);
    KVC_TRY(read_image(r->image, name, &bytes, &n, err));
    kvc_status status = b->o->take(b->o->context, r->job, bytes, n, err);
    free(bytes);
    return status;
}

/* ---- all of them ---- */

/* Looks after every run once: those that are over make room. */
static kvc_status look(build *b, uint32_t *n_running, kvc_error *err)
{
    kvc_status status = KVC_OK;
    for (run *r = b->runs; r < b->runs + MOST_PARALLEL && status == KVC_OK; r++) {
        int how;
        pid_t over = r->pid ? waitpid(r->pid, &how, WNOHANG) : 0;
        if (over == 0 || (over < 0 && errno == EINTR)) continue;
        status = over > 0 ? judge(b, r, how, err)
                          : kvc_fail(err, KVC_IO, "%s: nvcc is lost: %s", b->jobs[r->job].name, strerror(errno));
        end(r);
        --*n_running;
    }
    return status;
}

static void end_all(build *b)
{
    for (run *r = b->runs; r < b->runs + MOST_PARALLEL; r++) {
        if (!r->pid) continue;
        kill(-r->pid, SIGTERM);
        while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR) {
        }
        end(r);
    }
}

static run *free_run(build *b)
{
    run *r = b->runs;
    while (r->pid) r++;
    return r;
}

static kvc_status work(build *b, uint32_t n, kvc_error *err)
{
    static const struct timespec pause = {0, POLL_NANOSECONDS};
    uint32_t next = 0, n_running = 0, most = b->o->n_parallel < MOST_PARALLEL ? b->o->n_parallel : MOST_PARALLEL;
    while (next < n || n_running) {
        if (b->o->cancelled(b->o->context)) return kvc_fail(err, KVC_INTERRUPTED, "interrupted");
        if (next < n && n_running < most) {
            KVC_TRY(start(b, free_run(b), next, err));
            next++, n_running++;
        } else {
            nanosleep(&pause, NULL);
        }
        KVC_TRY(look(b, &n_running, err));
    }
    return KVC_OK;
}

kvc_status kernel_nvcc_build(const char *nvcc, const kernel_job *jobs, uint32_t n, const kernel_build_options *o,
                             kvc_error *err)
{
    const char *asked = getenv("TMPDIR");
    char *temporary = absolute(asked && *asked ? asked : "/tmp");
    build *b = calloc(1, sizeof *b);
    kvc_status status = KVC_OK;
    if (!temporary || !b) {
        status = kvc_fail(err, KVC_NO_MEMORY, "no memory to run nvcc");
    } else {
        b->nvcc = nvcc, b->jobs = jobs, b->o = o;
        snprintf(b->folder, sizeof b->folder, "%s/kvcalib-XXXXXX", temporary);
        if (!mkdtemp(b->folder)) status = kvc_fail(err, KVC_IO, "%s: cannot be made: %s", b->folder, strerror(errno));
    }
    if (status == KVC_OK) {
        status = work(b, n, err);
        end_all(b);
        rmdir(b->folder);
    }
    free(b);
    free(temporary);
    return status;
}
