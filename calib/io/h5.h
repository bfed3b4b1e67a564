/* h5.h - HDF5 files as images in memory (serial C API, core driver). The library never touches the disk: a full disk
 * or a torn file is met by output.c and input.c, which handle them.
 *
 * Fields are contiguous little-endian arrays of one of the kinds below, or fixed-length texts. What is written is
 * deterministic: no object times, one fixed format version. */
#ifndef CALIB_IO_H5_H
#define CALIB_IO_H5_H
#include <hdf5.h>
#include <stdbool.h>
#include "kvc/kvc.h"

typedef enum h5_kind { H5_U8, H5_U16, H5_U32, H5_U64, H5_F64, H5_TEXT } h5_kind;

typedef struct h5_field {
    const char *path; /* "group/name" */
    h5_kind kind;
    size_t text_bytes; /* of one text, with its NUL; 0 for numbers */
    unsigned rank;     /* 0: one value */
    uint64_t dims[3];
    void *data;
    const char *about; /* one line: what, formula, unit */
} h5_field;

size_t h5_field_count(const h5_field *f); /* values */
size_t h5_field_bytes(const h5_field *f);

typedef struct h5_file {
    hid_t id;
    const char *name; /* for messages; borrowed */
    size_t bytes;     /* of the image read: no dataset is larger */
    void *image;      /* what was written, once the library has closed it */
    bool quiet;       /* the library's own reports are off; the old setting follows */
    H5E_auto2_t old_report;
    void *old_context;
} h5_file;

/* One wrapper for the library's calls: `status` and the innermost message of its error stack. */
#define KVC_TRY_HDF5(call, status, file, what, err)                                                                  \
    do {                                                                                                             \
        if ((call) < 0) return h5_fail(status, file, what, err);                                                     \
    } while (0)
kvc_status h5_fail(kvc_status status, const h5_file *file, const char *what, kvc_error *err);

/* Writing: create, add, finish (which closes; *bytes is owned: free()), or close to give up. `kind` and `schema`
 * become attributes of the root. */
kvc_status h5_create(h5_file *out, const char *name, const char *kind, uint32_t schema, kvc_error *err);
kvc_status h5_add(h5_file *file, const h5_field *field, kvc_error *err);
kvc_status h5_finish(h5_file *file, void **bytes, size_t *n, kvc_error *err);

/* Reading: everything that is not as expected is KVC_FORMAT with the file's and the dataset's name. */
kvc_status h5_open(h5_file *out, const char *name, void *bytes, size_t n, const char *kind, uint32_t schema,
                   kvc_error *err);
kvc_status h5_length(h5_file *file, const char *path, uint64_t *n, kvc_error *err); /* first dimension */
kvc_status h5_text_bytes(h5_file *file, const char *path, size_t *n,
                         kvc_error *err); /* size of its texts, with NUL */
kvc_status h5_get(h5_file *file, const h5_field *field, kvc_error *err);

void h5_close(h5_file *file); /* closing twice is fine */

/* Shared by both directions. */
#define H5_NO_FILE "/dev/null/image"  /* the name of an image; HDF5 refuses one that a file has */
hid_t h5_type(const h5_field *field); /* close with H5Tclose() */
void h5_quiet(h5_file *file);         /* until h5_close(), the library prints nothing */
#endif
