/* job.h - how long work reports progress and learns that it should stop. */
#ifndef CALIB_IO_JOB_H
#define CALIB_IO_JOB_H
#include <stdbool.h>
typedef struct job {
    void (*progress)(void *context, const char *stage, double done, double total); /* may be NULL */
    bool (*cancelled)(void *context);                                              /* may be NULL */
    void *context;
} job;
static inline void job_progress(const job *j, const char *stage, double done, double total)
{
    if (j && j->progress) j->progress(j->context, stage, done, total);
}
static inline bool job_cancelled(const job *j)
{
    return j && j->cancelled && j->cancelled(j->context);
}
#endif
