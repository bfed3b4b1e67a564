/* weights_private.h - what the weights_*.c files share. */
#ifndef CALIB_IO_WEIGHTS_PRIVATE_H
#define CALIB_IO_WEIGHTS_PRIVATE_H
#include <stdbool.h>
#include "file_map.h"
#include "weights.h"

typedef struct weights_file {
    char *path;       /* owned; what messages and tensor.file show */
    const char *name; /* its last part */
    file_map map;
} weights_file;

struct weights {
    char *folder;
    weights_file *files; /* sorted by name */
    size_t n_files;
    tensor *tensors; /* [n], names owned */
    size_t n;
};

#define SAFETENSORS_MAX_HEADER ((size_t)100 << 20)

/* Append the tensors of one mapped file to w->tensors, checked but not sorted. */
kvc_status safetensors_parse(weights *w, const weights_file *file, kvc_error *err);

/* No control characters: the name can stand in a message. */
bool tensor_name_is_printable(const char *s);

static inline size_t dtype_bytes(kvc_dtype dtype)
{
    return dtype == KVC_F32 ? 4 : 2;
}
#endif
