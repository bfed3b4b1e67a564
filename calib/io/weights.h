/* weights.h - the tensors of a model in safetensors form: one file, an index with shards, or the folder with either.
 * Files are mapped; tensors are views into the map and stay valid until weights_close(). */
#ifndef CALIB_IO_WEIGHTS_H
#define CALIB_IO_WEIGHTS_H
#include "kvc/kvc.h"

typedef struct tensor {
    const char *name;
    kvc_dtype dtype; /* F32, F16, BF16 */
    uint32_t rank;   /* <= 4 */
    uint64_t shape[4];
    uint64_t n;       /* values */
    const void *data; /* any alignment */
    const char *file; /* for messages */
    const char
        *foreign; /* NULL, or why it cannot be read ("a dtype other than ..."); dtype and shape mean nothing then */
} tensor;

typedef struct weights weights;

/* Header length capped at 100 MiB; overlaps, holes, data past the end, duplicate names, and shards that are missing
 * or disagree with the index are KVC_FORMAT with file and tensor or offset. A tensor of another dtype or rank is
 * refused where it is asked for (weights_get, weights_read), not here. A folder: model.safetensors before the index.
 */
kvc_status weights_open(weights **out, const char *path, kvc_error *err);
void weights_close(weights *w);
const char *weights_folder(const weights *w); /* where config.json and tokenizer.json are looked for */
size_t weights_count(const weights *w);
const tensor *weights_at(const weights *w, size_t i);           /* sorted by name */
const tensor *weights_find(const weights *w, const char *name); /* NULL if absent */
/* The tensor, or KVC_FORMAT naming it and its file if absent or of another shape (rank 1 or 2; cols 0 = rank 1). */
kvc_status weights_get(const weights *w, const char *name, uint64_t rows, uint64_t cols, const tensor **out,
                       kvc_error *err);
/* Values [first, first + n) as fp32, t from this `w`; KVC_NONFINITE names file, tensor and index of the first NaN or
 * infinity. */
kvc_status weights_read(const weights *w, const tensor *t, uint64_t first, uint64_t n, float *dst, kvc_error *err);
void weights_release(const weights *w, const tensor *t); /* tell the system that its pages are not needed now */
/* One file: its SHA-256. Shards: SHA-256 of the lines "<hex>  <name>\n" in name order. */
kvc_status weights_sha256(const weights *w, uint8_t out[32], kvc_error *err);
uint64_t weights_bytes(const weights *w); /* of all files */

/* Writer, streaming: declare all tensors (name, dtype, rank, shape), then give their data in the same order. */
typedef struct weights_writer weights_writer;
kvc_status weights_create(weights_writer **out, const char *path, const tensor *list, size_t n, kvc_error *err);
kvc_status weights_write(weights_writer *w, const void *data, size_t bytes, kvc_error *err);
kvc_status weights_finish(weights_writer *w, kvc_error *err); /* consumes w; renames into place */
void weights_abandon(weights_writer *w);
#endif
