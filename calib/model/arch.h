/* arch.h - what a decoder architecture calls its tensors and how large they are.
 * The pass (forward.c) knows slots only. A new architecture of the same structure is one more descriptor in arch_*.c
 * and one line in arch_find(); tensors that it lacks are left out of its list, and the pass skips empty slots of
 * biases. */
#ifndef CALIB_MODEL_ARCH_H
#define CALIB_MODEL_ARCH_H
#include "model_config.h"

/* In the order in which a layer holds them in memory. */
typedef enum layer_slot {
    SLOT_ATTENTION_NORM,
    SLOT_Q,
    SLOT_K,
    SLOT_V,
    SLOT_O,
    SLOT_MLP_NORM,
    SLOT_GATE,
    SLOT_UP,
    SLOT_DOWN,
    SLOT_Q_BIAS,
    SLOT_K_BIAS,
    SLOT_V_BIAS,
    SLOT_O_BIAS,
    SLOT_GATE_BIAS,
    SLOT_UP_BIAS,
    SLOT_DOWN_BIAS,
    SLOT_COUNT
} layer_slot;

/* Widths that a configuration gives a value to; ONE makes a vector. */
typedef enum arch_width { WIDTH_ONE, WIDTH_HIDDEN, WIDTH_QUERY, WIDTH_KV, WIDTH_FFN, WIDTH_VOCAB } arch_width;

typedef enum arch_when { WHEN_NEVER, WHEN_ALWAYS, WHEN_ATTENTION_BIAS, WHEN_MLP_BIAS } arch_when;

typedef struct arch_tensor {
    const char *name; /* with %u for the layer */
    arch_width rows, cols;
    arch_when when;
} arch_tensor;

typedef struct arch {
    const char *model_type; /* of config.json */
    const char *embedding;  /* [vocab][hidden] */
    const char *final_norm; /* [hidden] */
    const char *head;       /* [vocab][hidden] where embeddings are not tied */
    arch_tensor layer[SLOT_COUNT];
} arch;

const arch *arch_find(const char *model_type); /* NULL: not supported */
uint64_t arch_width_of(const model_config *c, arch_width width);
bool arch_has(const model_config *c, const arch_tensor *t);

extern const arch arch_llama;
#endif
