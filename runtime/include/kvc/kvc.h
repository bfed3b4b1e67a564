/* kvc.h - the compiled KV cache of a language model: open a cfg.bin, append keys and values, attend with queries.
 *
 * A configuration is opened once and shared between threads; every pointer it returns is borrowed and lives until
 * kvc_config_close(). A cache holds several sequences in memory that is allocated by kvc_cache_create() and at no
 * other time. Functions never print, never exit and keep no globals. Calls that change a cache (append, truncate,
 * fork, reset) must be serialised by the caller; kvc_cache_attend() only reads and may run on several threads at
 * once.
 *
 * Shapes are written [rows][columns], row-major. Layers, sequences and heads count from 0. */
#ifndef KVC_KVC_H
#define KVC_KVC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KVC_API __attribute__((visibility("default")))
#define KVC_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define KVC_API
#define KVC_PRINTF(fmt, args)
#endif

/* ---- errors ------------------------------------------------------------------------------------------------- */

/* X(name, sentence). Values are stable: append only. */
#define KVC_STATUS_LIST(X)                                                                                           \
    X(KVC_OK, "success")                                                                                             \
    X(KVC_INVALID, "an argument is out of range or inconsistent")                                                    \
    X(KVC_INPUT, "an input file is missing or cannot be read")                                                       \
    X(KVC_FORMAT, "an input is malformed")                                                                           \
    X(KVC_UNSUPPORTED, "the input asks for something that this build does not have")                                 \
    X(KVC_MISMATCH, "two inputs do not belong together")                                                             \
    X(KVC_NONFINITE, "a value is NaN or infinite")                                                                   \
    X(KVC_NO_MEMORY, "out of memory")                                                                                \
    X(KVC_FULL, "the cache has no free page")                                                                        \
    X(KVC_IO, "an output cannot be written")                                                                         \
    X(KVC_INFEASIBLE, "no plan meets the request")                                                                   \
    X(KVC_INTERRUPTED, "interrupted; the work so far is kept")                                                       \
    X(KVC_LOSSY, "the target cannot represent the configuration")

#define KVC_STATUS_ENUM(name, text) name,
typedef enum kvc_status { KVC_STATUS_LIST(KVC_STATUS_ENUM) KVC_STATUS_COUNT } kvc_status;
#undef KVC_STATUS_ENUM

/* Owned by the caller; may be passed as NULL wherever it is a parameter. One line, no newline. */
typedef struct kvc_error {
    char message[512];
} kvc_error;

KVC_API const char *kvc_status_text(kvc_status status);
/* Writes the message (if err is not NULL) and returns `status`. */
KVC_API kvc_status kvc_fail(kvc_error *err, kvc_status status, const char *format, ...) KVC_PRINTF(3, 4);

#define KVC_TRY(call)                                                                                                \
    do {                                                                                                             \
        kvc_status kvc_try_ = (call);                                                                                \
        if (kvc_try_ != KVC_OK) return kvc_try_;                                                                     \
    } while (0)

/* ---- what a configuration holds ------------------------------------------------------------------------------ */

/* One side (keys or values) of one layer: 32 bytes, as stored in cfg.bin (FORMAT.md, "codec descriptor").
 * Written and read as a spec string by kvc_codec_format() and kvc_codec_parse() (kvc/codec.h). */
typedef struct kvc_codec {
    uint8_t symbol;        /* wire id, kvc/codec_list.h */
    uint8_t bits;          /* bits per code */
    uint8_t scale;         /* kvc_scale_kind */
    uint8_t dims;          /* values that share one code; 0 where codes have several sizes ("vq[...]") */
    uint16_t group;        /* channels (tok) or tokens (ch) that share a scale; 0 before kvc_coder_init() = default */
    uint8_t flags;         /* bit 0: keys before RoPE ("@pre"); bit 1: one row of all KV heads ("@joint") */
    uint8_t n_transforms;  /* entries used in transform[] */
    uint8_t transform[4];  /* wire ids, in the order applied */
    uint8_t reserved[4];   /* zero */
    uint32_t param_offset; /* into the parameters section, 64-byte aligned; 0 with param_bytes 0 */
    uint32_t param_bytes;
    uint8_t segment[8]; /* "seg": bits of each eighth of the latent channels. With dims 0 of every 64 channels: [0..4]
                         * the codes of 1, 2, 4, 8 and 16 (a mix), or [5] the codes that heads share out; else zero */
} kvc_codec;

typedef struct kvc_layer {
    kvc_codec key, value;
} kvc_layer;

/* methods: the first `sinks` tokens and the newest `window` to `window + page - 1` tokens stay fp16; all others are
 * compressed, one whole page at a time. Pages start at token `sinks`. */
typedef struct kvc_token_policy {
    uint32_t sinks, window, page;
} kvc_token_policy;

/* The model that a configuration was made for. Strings end in NUL. */
typedef struct kvc_model_info {
    char name[64];
    char architecture[32]; /* "llama" */
    uint32_t n_layers, n_query_heads, n_kv_heads, head_dim;
    uint32_t hidden_size, vocab_size;
    double rope_theta;
    uint8_t weights_sha256[32];   /* of the weights file; of the list of shard hashes where there are several */
    uint8_t tokenizer_sha256[32]; /* of tokenizer.json; zero where there is none */
} kvc_model_info;

typedef struct kvc_section {
    const char *name; /* "model", "tokens", "layers", "parameters", "provenance" */
    uint64_t offset, bytes;
} kvc_section;

typedef struct kvc_config kvc_config;

/* Map and validate the file, which must not change until close. After success no accessor can fail. On error *out is
 * NULL and `err` names the FORMAT.md rule that was broken. */
KVC_API kvc_status kvc_config_open(kvc_config **out, const char *path, kvc_error *err);
/* The same from memory. `bytes` is borrowed and must stay unchanged until close; any alignment will do. */
KVC_API kvc_status kvc_config_open_memory(kvc_config **out, const void *bytes, size_t n_bytes, kvc_error *err);
KVC_API void kvc_config_close(kvc_config *cfg); /* NULL is fine */

KVC_API const kvc_model_info *kvc_config_model(const kvc_config *cfg);
KVC_API const kvc_token_policy *kvc_config_tokens(const kvc_config *cfg);
KVC_API const kvc_layer *kvc_config_layer(const kvc_config *cfg, uint32_t layer);  /* NULL if out of range */
KVC_API const void *kvc_config_parameters(const kvc_config *cfg, size_t *n_bytes); /* NULL if none */
KVC_API const char *kvc_config_provenance(const kvc_config *cfg, size_t *n_bytes); /* JSON, no NUL; NULL if none */
KVC_API const uint8_t *kvc_config_id(const kvc_config *cfg); /* [32] SHA-256 of the decision sections, as stored */
KVC_API uint32_t kvc_config_format(const kvc_config *cfg);   /* the writer's version, major * 1000 + minor */
KVC_API size_t kvc_config_file_bytes(const kvc_config *cfg);
KVC_API uint32_t kvc_config_sections(const kvc_config *cfg);
KVC_API kvc_section kvc_config_section(const kvc_config *cfg, uint32_t index);
/* Bytes that a cache of this configuration occupies for one sequence of n_tokens: codes, scales, sinks and
 * window; UINT64_MAX where that does not fit 64 bits. */
KVC_API uint64_t kvc_config_bytes(const kvc_config *cfg, uint64_t n_tokens);
KVC_API double kvc_config_bytes_per_token(const kvc_config *cfg, uint64_t context); /* kvc_config_bytes / context */
KVC_API double kvc_config_bits_per_value(const kvc_config *cfg, uint64_t context);  /* 8 bytes / (2 L H d N) */

/* ---- the cache ----------------------------------------------------------------------------------------------- */

typedef enum kvc_dtype { KVC_F32 = 0, KVC_F16 = 1, KVC_BF16 = 2 } kvc_dtype;

typedef struct kvc_allocator {
    void *(*alloc)(void *context, size_t bytes, size_t alignment); /* NULL on failure */
    void (*free)(void *context, void *memory, size_t bytes);
    void *context;
} kvc_allocator;

/* Set `size` to sizeof(kvc_cache_options); fields that a later version adds are then taken as zero. */
typedef struct kvc_cache_options {
    uint32_t size;
    uint32_t max_sequences;
    uint64_t max_tokens;            /* room for these, however sequences share them; shared pages count once */
    const kvc_allocator *allocator; /* NULL: aligned_alloc and free */
} kvc_cache_options;

/* Which sequences a call works on: rows of sequence i follow those of sequence i-1 without a gap. */
typedef struct kvc_batch {
    uint32_t n_sequences;
    const uint32_t *sequences; /* [n_sequences] distinct, each < max_sequences */
    const uint32_t *n_tokens;  /* [n_sequences] rows of each */
} kvc_batch;

typedef struct kvc_cache kvc_cache;

/* The configuration is borrowed and must outlive the cache. */
KVC_API kvc_status kvc_cache_create(kvc_cache **out, const kvc_config *cfg, const kvc_cache_options *options,
                                    kvc_error *err);
KVC_API void kvc_cache_destroy(kvc_cache *cache);       /* NULL is fine */
KVC_API size_t kvc_cache_bytes(const kvc_cache *cache); /* all memory that create allocated */

/* Append rows of one layer: keys after RoPE, values as they are, both [sum of n_tokens][n_kv_heads][head_dim].
 * KVC_FULL and KVC_NONFINITE leave the cache as it was. Finite values beyond the fp16 range are clamped to it. */
KVC_API kvc_status kvc_cache_append(kvc_cache *cache, uint32_t layer, const kvc_batch *batch, const void *keys,
                                    const void *values, kvc_dtype dtype, kvc_error *err);

/* How many tokens may be appended to this layer of a sequence before attending, so that every one of their queries
 * sees the cache as it would be if they came one by one (pages move at most with the first of them). At least 1. */
KVC_API uint32_t kvc_cache_chunk(const kvc_cache *cache, uint32_t layer, uint32_t sequence);

/* Set `size` to sizeof(kvc_attend_options); fields that a later version adds are then taken as zero. */
typedef struct kvc_attend_options {
    uint32_t size;
    float score_scale;                   /* 0: 1 / sqrt(head_dim) */
    uint32_t kv_head_begin, kv_head_end; /* only these KV heads; 0, 0: all. Other columns of `out` are not touched */
    uint32_t sliding_window;             /* token i sees tokens j > i - sliding_window alone, sinks too; 0: all */
    float softcap;                       /* a score s becomes softcap tanh(s / softcap), finite and > 0; 0: stays */
} kvc_attend_options;

/* Causal attention of the newest n_tokens rows of each sequence (row j of n_tokens queries is token
 * n - n_tokens + j and sees tokens as far as itself), by online softmax over sinks, compressed pages and window
 * in their present state.  queries, out [sum of n_tokens][n_query_heads][head_dim]; `out` is fp32; a query with a NaN
 * or infinity gives NaN in its own row and head. work: kvc_cache_attend_work() bytes, 64-byte aligned, private to the
 * call. `options` may be NULL. */
KVC_API size_t kvc_cache_attend_work(const kvc_cache *cache);
KVC_API kvc_status kvc_cache_attend(const kvc_cache *cache, uint32_t layer, const kvc_batch *batch,
                                    const void *queries, kvc_dtype dtype, float *out, void *work,
                                    const kvc_attend_options *options, kvc_error *err);

KVC_API uint64_t kvc_cache_length(const kvc_cache *cache, uint32_t layer, uint32_t sequence); /* tokens appended */
/* Drop all tokens from n_tokens on, in every layer. Where that cuts a compressed page, its remaining rows return to
 * the window as decoded values; pages that stay whole stay compressed. */
KVC_API kvc_status kvc_cache_truncate(kvc_cache *cache, uint32_t sequence, uint64_t n_tokens, kvc_error *err);
/* Make `to` (which must be empty) a copy of `from`, whose layers must be equally long; compressed pages are shared.
 */
KVC_API kvc_status kvc_cache_fork(kvc_cache *cache, uint32_t from, uint32_t to, kvc_error *err);
KVC_API kvc_status kvc_cache_reset(kvc_cache *cache, uint32_t sequence, kvc_error *err);

KVC_API const char *kvc_version(void); /* "0.1.0" */

#ifdef __cplusplus
}
#endif
#endif
