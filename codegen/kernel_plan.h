/* kernel_plan.h - which attention kernels (kernels/template) a configuration needs, and how each is cut.
 *
 * A kernel is made for a key: the symbols and scales of keys and values, whether their tables are byte tables, the
 * heads' shape, the page, the columns, whether scores are capped. Transforms are no part of it: they are folded into
 * queries and outputs. Layers of one key share a kernel. Tiles, stages and warps follow from key and target
 * (kernel_shape.c). That an image has a second kernel for few columns is the template's own affair
 * (attend_kernel.cu).
 *
 * What the template cannot do is refused by name, KVC_UNSUPPORTED; what it does slowly kernel_is_slow() says. */
#ifndef CODEGEN_KERNEL_PLAN_H
#define CODEGEN_KERNEL_PLAN_H
#include <stdbool.h>
#include "kernel_target.h"
#include "kvc/codec.h"

typedef struct kernel_side {
    kvc_codec codec;  /* group resolved, no transforms, no parameters */
    uint32_t latent;  /* channels of a row */
    uint32_t entries; /* of the one table for the layer's side; 0: none */
    /* Codes that heads share out ("vq[N]x8"), else 0: as many as a head of any layer and side has, rounded up, so
     * that one kernel serves all N; and the bytes of one table with its copies. */
    uint32_t most, table_bytes;
    uint32_t n_codes; /* of a row, where codes are decoded one by one (kernels/fragment/single.cuh); else 0 */
    /* The one table, or of shared codes those of 4, 8 and 16 channels, are byte tables (kvc_coder_byte_step()) of
     * which there may be products of bytes: where layers' are, and where they are not, are different kernels. Kernels
     * are for one configuration, whose id covers its tables: none is ever used with others. */
    bool byte_table;
} kernel_side;

typedef struct kernel_spec {
    kernel_side key, value;
    uint32_t head_dim, group; /* query heads of a KV head */
    uint32_t page, columns;
    bool softcap; /* scores are capped */
    uint32_t tile, stages, warps;
    uint32_t shared_bytes; /* of a block */
    uint32_t room;         /* that it may have */
    char name[128];        /* the symbol; it spells the key */
    char words[128];       /* "int4.ch64 int4.tok128 d128 g4 p64 c8" */
} kernel_spec;

typedef struct kernel_plan {
    const kernel_target *target;
    kernel_spec *kernels; /* [n_kernels], in the order of the layers that first need them */
    uint32_t n_kernels, n_layers;
    uint32_t *of_layer; /* [n_layers]: index of its kernel */
} kernel_plan;

/* May heads and pages of this shape have kernels? */
kvc_status kernel_check_model(const kvc_model_info *model, uint32_t page, kvc_error *err);
/* May this codec, of a model that may? The message has the spec and the reason. */
kvc_status kernel_check_codec(const kvc_codec *codec, const kvc_model_info *model, uint32_t page, kvc_error *err);

/* layers [model->n_layers], softcap: of a model that caps scores, params their parameters section; without it, NULL,
 * heads that share codes are taken to have as many as may be, and tables to be no byte tables. The message of a
 * refusal has the layer, the side, the spec and the reason. */
kvc_status kernel_plan_new(kernel_plan *out, const kvc_model_info *model, const kvc_token_policy *tokens,
                           const kvc_layer *layers, const void *params, bool softcap, const kernel_target *target,
                           kvc_error *err);
void kernel_plan_free(kernel_plan *plan);
/* Are codes of a side decoded one by one? Or is attention over shared codes not in products of bytes
 * (kernels/template/attend_bytes.cuh)? That takes as long as over fp16, in short contexts twice as long
 * (docs/benchmarks.md). */
bool kernel_is_single(const kernel_spec *k);
bool kernel_is_slow(const kernel_spec *k);

/* kernel_check.c: the codec as the template sees it, once it is checked. */
kvc_status kernel_side_init(kernel_side *out, const kvc_codec *codec, const kvc_model_info *model, uint32_t page,
                            kvc_error *err);
/* kernel_single.c: of a side whose codes are decoded one by one the bytes of a tile; and the copies that bring it, 0
 * where there can be no such tile: its parts are no multiples of 16 bytes, or it has no whole scales. */
uint32_t kernel_single_bytes(const kernel_side *side, uint32_t tile);
uint32_t kernel_single_copies(const kernel_side *side, uint32_t page, uint32_t tile);
/* kernel_shape.c: columns, tile, stages, warps, entries, shared_bytes of a key whose other fields are set. */
kvc_status kernel_shape_choose(kernel_spec *k, const kernel_target *target, kvc_error *err);
#endif
