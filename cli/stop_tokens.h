/* stop_tokens.h - the tokens that end a generation: eos_token_id of generation_config.json, else of config.json. */
#ifndef CLI_STOP_TOKENS_H
#define CLI_STOP_TOKENS_H
#include <stdbool.h>
#include "model.h"

enum { MAX_STOP_TOKENS = 64 };
typedef struct stop_tokens {
    uint32_t ids[MAX_STOP_TOKENS];
    size_t n;
} stop_tokens;

kvc_status stop_tokens_read(stop_tokens *out, const model *m, kvc_error *err);
bool stop_tokens_hold(const stop_tokens *s, uint32_t id);
#endif
