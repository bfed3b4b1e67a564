/* arch.c - the list of architectures, and how a descriptor meets a configuration. */
#include "arch.h"

#include <string.h>

const arch *arch_find(const char *model_type)
{
    static const arch *const list[] = {&arch_llama};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(list[i]->model_type, model_type) == 0) return list[i];
    return NULL;
}

uint64_t arch_width_of(const model_config *c, arch_width width)
{
    switch (width) {
    case WIDTH_ONE: return 1;
    case WIDTH_HIDDEN: return c->hidden;
    case WIDTH_QUERY: return (uint64_t)c->n_heads * c->head_dim;
    case WIDTH_KV: return (uint64_t)c->n_kv_heads * c->head_dim;
    case WIDTH_FFN: return c->ffn;
    case WIDTH_VOCAB: return c->vocab;
    }
    return 0;
}

bool arch_has(const model_config *c, const arch_tensor *t)
{
    switch (t->when) {
    case WHEN_NEVER: return false;
    case WHEN_ALWAYS: return true;
    case WHEN_ATTENTION_BIAS: return c->attention_bias;
    case WHEN_MLP_BIAS: return c->mlp_bias;
    }
    return false;
}
