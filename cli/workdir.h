/* workdir.h - the folder of an unfinished run: checkpoints, what they belong to, and when they may be used. */
#ifndef CLI_WORKDIR_H
#define CLI_WORKDIR_H
#include <jansson.h>
#include "settings.h"

typedef struct workdir {
    char path[4000];
    int lock; /* descriptor of the folder; held while the work runs */
} workdir;

/* --workdir, or the output's path with ".work". Created if need be, locked against a second process, and checked:
 *     unfinished work without --resume   KVC_INVALID, so that hours of work are not overwritten by accident
 *     --resume, but other work           KVC_MISMATCH, naming what differs between fingerprint.json and `fingerprint`
 * Then fingerprint.json holds `fingerprint`. */
kvc_status workdir_open(workdir *out, const settings *s, const json_t *fingerprint, kvc_error *err);
/* Path of a file in it. */
void workdir_file(const workdir *w, const char *name, char *buf, size_t n);
void workdir_close(workdir *w);
/* Remove fingerprint.json, and the folder if nothing else is in it. */
void workdir_remove(const workdir *w);
#endif
