/* attend_info.h - what an image of attend_kernel.cu says of itself, for whoever loads it. */
#ifndef KERNELS_TEMPLATE_ATTEND_INFO_H
#define KERNELS_TEMPLATE_ATTEND_INFO_H
#include <stdint.h>

#define ATTEND_INFO_VERSION 3u

typedef struct attend_info {
    uint32_t version;
    uint32_t shared_bytes; /* dynamic shared memory of a block */
    uint32_t columns;      /* of a tile */
    uint32_t few_columns;  /* of the second kernel, for calls that have no more of them; 0: there is none */
    uint32_t tile, warps;
    uint32_t softcap;       /* 1: scores are capped (attend_batch.softcap), 0: they are not */
    char template_hash[65]; /* SHA-256 of the template's files, hexadecimal */
    char key[128];          /* codecs and shape in words */
} attend_info;

#endif
