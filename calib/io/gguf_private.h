/* gguf_private.h - a parsed GGUF file: views into its bytes, and what the gguf_*.c files make of them.
 *     parse -> gguf (metadata, tensor descriptors) -> model_config, tensor plan, tokenizer -> files of a
 * model folder */
#ifndef CALIB_IO_GGUF_PRIVATE_H
#define CALIB_IO_GGUF_PRIVATE_H
#include <jansson.h>
#include <stdbool.h>
#include "model_config.h"
#include "weights.h"

typedef struct gguf_text { /* borrowed from the file; no NUL */
    const char *bytes;
    uint64_t n;
} gguf_text;

/* Types of metadata values, as stored. */
typedef enum gguf_kind {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_KINDS
} gguf_kind;

typedef struct gguf_value {
    gguf_text key;
    gguf_kind kind;
    gguf_kind element;   /* of an array */
    uint64_t n;          /* elements of an array, else 1 */
    const uint8_t *data; /* the value, or the first element */
} gguf_value;

/* How a block of quantised values is stored (gguf_dequant.c). */
typedef struct gguf_type {
    uint32_t id;
    const char *name;
    uint32_t values, bytes; /* of one block */
    void (*dequantise)(const uint8_t *block, float *dst);
} gguf_type;

typedef struct gguf_tensor {
    gguf_text name;
    const gguf_type *type;
    uint64_t rows, cols; /* rows of `cols` adjacent values; one row for rank 1 */
    uint32_t rank;       /* 1 or 2 */
    uint64_t offset;     /* in the data section */
    uint64_t row_bytes;
    const uint8_t *data;
} gguf_tensor;

typedef struct gguf {
    const char *path; /* for messages */
    const uint8_t *bytes;
    size_t n;
    gguf_value *values; /* [n_values], sorted by key */
    size_t n_values;
    gguf_tensor *tensors; /* [n_tensors], sorted by name */
    size_t n_tensors;
} gguf;

/* On error nothing is held. */
kvc_status gguf_parse(gguf *out, const char *path, const void *bytes, size_t n, kvc_error *err);
void gguf_free(gguf *g);
const gguf_value *gguf_find(const gguf *g, const char *key); /* NULL if absent */
const gguf_tensor *gguf_find_tensor(const gguf *g, const char *name);

/* Typed metadata (gguf_field.c). With `optional` an absent key leaves *out as it is. */
kvc_status gguf_get_count(const gguf *g, const char *key, uint32_t min, uint32_t max, bool optional, uint32_t *out,
                          kvc_error *err);
kvc_status gguf_get_real(const gguf *g, const char *key, bool optional, double *out, kvc_error *err);
kvc_status gguf_get_flag(const gguf *g, const char *key, bool *out, kvc_error *err);
kvc_status gguf_get_text(const gguf *g, const char *key, bool optional, gguf_text *out, kvc_error *err);
/* An array of `kind`; *out is NULL if absent and optional. */
kvc_status gguf_get_array(const gguf *g, const char *key, gguf_kind kind, bool optional, const gguf_value **out,
                          kvc_error *err);
/* The string at *at, which is moved behind it; for arrays, whose bounds parsing has checked. */
gguf_text gguf_next_text(const uint8_t **at);
bool gguf_text_is(gguf_text text, const char *other);
uint64_t gguf_u64(const uint8_t *p);
uint32_t gguf_u32(const uint8_t *p);

const gguf_type *gguf_type_find(uint32_t id); /* NULL if not supported */
const char *gguf_type_name(uint32_t id);      /* of any type; "unknown" */
/* n is a multiple of the block's values. */
void gguf_dequantise(const gguf_type *type, const uint8_t *src, size_t n, float *dst);

/* The shapes of a llama model and its config.json (owned: json_decref). */
kvc_status gguf_read_config(const gguf *g, kvc_dtype dtype, model_config *shape, json_t **config, kvc_error *err);

/* Which GGUF tensor becomes which tensor of model.safetensors. */
typedef struct gguf_plan_entry {
    const gguf_tensor *source;
    char name[96];
    uint32_t heads; /* > 0: rows are permuted within each of so many heads */
} gguf_plan_entry;
typedef struct gguf_plan {
    gguf_plan_entry *entries;
    size_t n;
} gguf_plan;
/* Every tensor that the shape asks for, once, of the right size, and no other. Owned: free(out->entries). */
kvc_status gguf_make_plan(gguf_plan *out, const gguf *g, const model_config *shape, kvc_error *err);
/* Appends the values of one entry to the writer. */
kvc_status gguf_convert(const gguf *g, const gguf_plan_entry *e, kvc_dtype dtype, weights_writer *w, kvc_error *err);

/* tokenizer.json, tokenizer_config.json, generation_config.json; owned: json_decref. */
kvc_status gguf_read_tokenizer(const gguf *g, uint32_t vocab, json_t **out, kvc_error *err);
kvc_status gguf_read_tokenizer_config(const gguf *g, const model_config *shape, json_t **out, kvc_error *err);
kvc_status gguf_read_generation_config(const gguf *g, uint32_t vocab, json_t **out, kvc_error *err);
json_t *gguf_pre_tokenizer(gguf_text pre, bool *nfc, bool *ignore_merges, bool *add_bos); /* NULL if not known */

/* What the value of tokenizer.ggml.pre stands for (gguf_pre.c). */
typedef struct gguf_pre {
    const char *pre_tokenizer; /* JSON */
    bool nfc;                  /* a normaliser NFC */
    bool ignore_merges;        /* a word of the vocabulary is one token, whatever the merges say */
    bool add_bos;              /* where the file does not say */
} gguf_pre;
const gguf_pre *gguf_pre_find(gguf_text name); /* NULL if not known */
#endif
