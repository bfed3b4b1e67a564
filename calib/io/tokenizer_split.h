/* tokenizer_split.h - the steps that cut text into words; private to tokenizer_split*.c. */
#ifndef CALIB_IO_TOKENIZER_SPLIT_H
#define CALIB_IO_TOKENIZER_SPLIT_H
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include "tokenizer_parts.h"

typedef enum split_kind { SPLIT_PATTERN, SPLIT_DIGITS, SPLIT_PREFIX_SPACE } split_kind;
typedef enum split_behavior { ISOLATED, REMOVED, CONTIGUOUS, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT } split_behavior;

typedef struct split_step {
    split_kind kind;
    split_behavior behavior; /* what becomes of a match */
    bool invert;             /* what is between matches is the match */
    pcre2_code *code;        /* SPLIT_PATTERN */
} split_step;

enum { SPLIT_STEPS_MAX = 16 };

struct split_plan {
    split_step steps[SPLIT_STEPS_MAX];
    size_t n;
    bool byte_level; /* the last component has been read */
};
#endif
