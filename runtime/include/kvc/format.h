/* format.h - what lies in a cfg.bin, byte for byte. FORMAT.md is the specification, this is its spelling in
 * C.
 *
 * Extension level, for writers and inspectors; readers use kvc_config_open(). All numbers are little-endian.
 *
 *     0                 kvc_file_header                        64 bytes
 *     64                kvc_file_section [n_sections]          32 bytes each
 *     64 + 32 n         XXH3-64 of all bytes before it          8 bytes
 *     next multiple of 64: the first section; each further one at the first multiple of 64 after the one
 * before.
 *
 * Sections model, tokens and layers hold the structs of kvc.h as they are. */
#ifndef KVC_FORMAT_H
#define KVC_FORMAT_H
#include "kvc/kvc.h"

#define KVC_FORMAT_VERSION 1001u /* major * 1000 + minor: what this library writes and the newest that it reads */
#define KVC_FORMAT_FIRST 1000u   /* the oldest version */
#define KVC_FILE_MAGIC "\x89KVC\r\n\x1a\n"
#define KVC_FILE_ALIGNMENT 64u
#define KVC_MAX_SECTIONS 64u

/* X(name, type): ascending, never renumbered. */
#define KVC_SECTION_LIST(X)                                                                                          \
    X(model, 1)                                                                                                      \
    X(tokens, 2)                                                                                                     \
    X(layers, 3)                                                                                                     \
    X(parameters, 4)                                                                                                 \
    X(provenance, 64)

#define KVC_SECTION_ENUM(name, type) KVC_SECTION_##name = type,
enum { KVC_SECTION_LIST(KVC_SECTION_ENUM) };
#undef KVC_SECTION_ENUM

/* A reader that does not know a required section refuses the file. Required sections are the decision
 * sections. */
#define KVC_SECTION_REQUIRED 1u

typedef struct kvc_file_header {
    uint8_t magic[8];
    uint32_t reader_min; /* the oldest format version whose readers understand this file */
    uint32_t writer;     /* the format version of the writer, for diagnosis only */
    uint64_t file_bytes;
    uint32_t n_sections, reserved;
    uint8_t identity[32]; /* SHA-256 over the decision sections */
} kvc_file_header;

typedef struct kvc_file_section {
    uint32_t type, flags;
    uint64_t offset, bytes;
    uint64_t xxh3; /* XXH3-64, seed 0, of the section's bytes */
} kvc_file_section;

typedef struct kvc_file_tokens {
    kvc_token_policy policy;
    uint32_t reserved;
} kvc_file_tokens;

#ifdef __cplusplus
#define KVC_SIZE_IS(type, bytes) static_assert(sizeof(type) == (bytes), #type " is " #bytes " bytes in a file")
#else
#define KVC_SIZE_IS(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " is " #bytes " bytes in a file")
#endif
KVC_SIZE_IS(kvc_file_header, 64);
KVC_SIZE_IS(kvc_file_section, 32);
KVC_SIZE_IS(kvc_file_tokens, 16);
KVC_SIZE_IS(kvc_model_info, 192);
KVC_SIZE_IS(kvc_codec, 32);
KVC_SIZE_IS(kvc_layer, 64);
#undef KVC_SIZE_IS

#endif
