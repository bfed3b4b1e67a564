/* attend_info.h - what an image of attend_kernel.cu says of itself, for whoever loads it. */
#ifndef KERNELS_TEMPLATE_ATTEND_INFO_H
#define KERNELS_TEMPLATE_ATTEND_INFO_H
#include <stdint.h>

#define ATTEND_INFO_VERSION 4u

/* One of an image's kernels. */
typedef struct attend_shape_info {
    uint32_t columns; /* of a tile */
    uint32_t warps;
    uint32_t shared_bytes; /* dynamic shared memory of a block */
} attend_shape_info;

typedef struct attend_info {
    uint32_t version;
    attend_shape_info many, few; /* few: for calls that have no more columns; 0 columns: there is none */
    uint32_t tile;
    uint32_t softcap;       /* 1: scores are capped (attend_batch.softcap), 0: they are not */
    char template_hash[65]; /* SHA-256 of the template's files, hexadecimal */
    char key[128];          /* codecs and shape in words */
} attend_info;

#endif
