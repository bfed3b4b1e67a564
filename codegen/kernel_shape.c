/* kernel_shape.c - how a kernel is cut: columns of a product, tables, tokens of a tile, stages, warps.
 *
 * Shared memory holds the tables and, for each warp, `stages` tiles of keys and values with a barrier each; the sizes
 * are those of kernels/fragment/staged.cuh, and attend_kernel.cu asserts that its kernel for many columns needs no
 * more than is counted here. What an image's kernels have it says itself (kernels/template/attend_info.h). */
#include "kernel_plan.h"
#include "kvc/codec_list.h"

enum {
    MOST_STAGE = 10 << 10, /* bytes of a tile: beyond that copies get no faster (pages of 2 to 16 KB reach the
                              ceiling), and stages are lost */
    GOOD_STAGES = 3,       /* one in use, two under way */
    MOST_STAGES = 4,
    LEAST_STAGES = 2,
    MOST_WARPS = 8,   /* two of each scheduler: one's lookups behind the other's products */
    BARRIER = 8,      /* bytes; of a stage */
    LISTS = 1632,     /* bytes of a block's lists of units (kernels/template/attend_units.cuh) */
    FEW_COPIES = 4,   /* of a tile of one side, at most, where codes are not decoded one by one */
    MOST_COPIES = 32, /* of a tile: a lane has one */
    TABLE_ROW = 256, /* bytes of an entry: half of it copies of the keys', half of the values' (fragment/table.cuh) */
    RESULT = 16      /* bytes a channel: results go through a warp's last stage, which has room for these */
};

static bool has_table(const kernel_side *side)
{
    return side->codec.symbol == KVC_SYMBOL_lut || side->codec.symbol == KVC_SYMBOL_vq;
}

/* Shared codes: tables of the two lengths that a head has, of 256 entries of up to 16 channels; where they are byte
 * tables, places of the words of a row in eights (kernels/fragment/shared.cuh). */
enum { SHARED_TABLES = 2, MOST_TABLE = 32 << 10, LEAST_TABLE = 256 * 2 * 16, PLACES = 256, MOST_WORDS = 96 };

/* Codes that are decoded one by one become fp16 rows, those of keys first, of values then
 * (kernels/fragment/single.cuh). */
static uint32_t row_bytes(const kernel_spec *k, uint32_t tile)
{
    uint32_t key = k->key.n_codes ? k->key.latent : 0, value = k->value.n_codes ? k->value.latent : 0;
    return tile * (key > value ? key : value) * 2;
}

/* Queries of shared codes lie in shared memory: products of a row, 256 bytes each for 8 columns
 * (kernels/template/attend_shared.cuh). */
static uint32_t scratch_bytes(const kernel_spec *k, uint32_t tile)
{
    return row_bytes(k, tile) + (k->key.most ? (k->key.latent / 16 + 6) * (k->columns / 8) * 256 : 0);
}

static uint32_t entries_of(const kernel_side *side)
{
    return has_table(side) && !side->most && !side->n_codes ? 1u << side->codec.bits : 0;
}

/* Of a head with the most. */
static uint32_t words_of(const kernel_side *side)
{
    return side->most > side->latent / 4 ? side->most : side->latent / 4;
}

static uint32_t shared_table_bytes(const kernel_side *side)
{
    if (!side->most) return 0;
    return SHARED_TABLES * side->table_bytes + (side->byte_table ? (words_of(side) + 7) / 8 * PLACES : 0);
}

/* Tokens. */
static uint32_t least_tile(const kernel_spec *k)
{
    uint32_t run = kvc_share_run(k->page);
    return (k->key.most || k->value.most) && run > 16 ? run : 16;
}

/* Tables of both sides lie side by side; those of shared codes behind them. */
static uint32_t table_bytes(const kernel_spec *k)
{
    uint32_t entries = k->key.entries > k->value.entries ? k->key.entries : k->value.entries;
    return entries * TABLE_ROW + shared_table_bytes(&k->key) + shared_table_bytes(&k->value);
}

/* Codes, then scales and minima. */
static uint32_t tile_bytes(const kernel_side *side, uint32_t tile)
{
    const kvc_codec *c = &side->codec;
    if (c->symbol == KVC_SYMBOL_fp16) return tile * side->latent * 2;
    if (side->most) return tile * side->most;
    if (side->n_codes) return kernel_single_bytes(side, tile);
    if (has_table(side)) return tile * (side->latent / c->dims) * c->bits / 8;
    uint32_t codes = tile * side->latent * c->bits / 8;
    if (c->scale == KVC_SCALE_TOK) return codes + tile * (side->latent / c->group) * 2 * 2;
    return codes + (tile < c->group ? 1 : tile / c->group) * side->latent * 2 * 2;
}

/* A side's copies of a tile; too many where there can be no such tile. */
static uint32_t copies_of(const kernel_side *side, uint32_t page, uint32_t tile)
{
    uint32_t copies = side->n_codes ? kernel_single_copies(side, page, tile) : FEW_COPIES;
    return copies ? copies : MOST_COPIES + 1;
}

/* Groups of tokens that share a scale make up tiles or are made up of them. */
static bool tile_suits(const kvc_codec *c, uint32_t tile)
{
    return c->scale != KVC_SCALE_CH || c->group % tile == 0 || tile % c->group == 0;
}

/* Tiles make up pages, and runs of tokens make up tiles. */
static bool tile_divides(const kernel_spec *k, uint32_t tile)
{
    if (tile % least_tile(k) || k->page % tile) return false;
    if (copies_of(&k->key, k->page, tile) + copies_of(&k->value, k->page, tile) > MOST_COPIES) return false;
    return tile_suits(&k->key.codec, tile) && tile_suits(&k->value.codec, tile);
}

static bool try_cut(kernel_spec *k, const kernel_target *target, uint32_t tile, uint32_t warps, uint32_t least_stages)
{
    uint32_t tables = table_bytes(k), result = RESULT * k->head_dim;
    uint32_t stage = tile_bytes(&k->key, tile) + tile_bytes(&k->value, tile);
    for (uint32_t stages = MOST_STAGES; stages >= least_stages; stages--) {
        uint32_t ring = (stages - 1) * stage + (stage > result ? stage : result);
        uint32_t shared = tables + LISTS + warps * (ring + stages * BARRIER + scratch_bytes(k, tile));
        if (shared > target->shared_bytes) continue;
        k->tile = tile, k->stages = stages, k->warps = warps, k->shared_bytes = shared;
        return true;
    }
    return false;
}

static void set_tables(kernel_spec *k, uint32_t bytes)
{
    if (k->key.most) k->key.table_bytes = bytes;
    if (k->value.most) k->value.table_bytes = bytes;
}

/* May there be products of bytes of this side beside shared codes (kernels/template/attend_bytes.cuh)? */
static bool takes_bytes(const kernel_side *side, bool is_value, uint32_t page, uint32_t tile)
{
    const kvc_codec *c = &side->codec;
    if (tile % 32 || side->n_codes) return false;
    if (side->most) return side->byte_table && words_of(side) <= MOST_WORDS && kvc_share_run(page) == 32;
    if (side->byte_table) return side->latent % 32 == 0;
    if (c->symbol != KVC_SYMBOL_int || c->bits % 2 || side->latent % 32) return false;
    if (c->bits != 6 && side->latent * c->bits / 8 % 32) return false;
    return c->scale == KVC_SCALE_TOK ? c->group == side->latent : c->group % (is_value ? tile : 32) == 0;
}

/* Codes that heads share out, in products of bytes: the template's kernel for few columns then serves all calls where
 * it fits (kernels/template/attend_few.cuh). It has larger tables than are counted here, and is better off with a
 * larger tile than with a third stage. */
static bool shares_bytes(const kernel_spec *k, uint32_t tile)
{
    return (k->key.most || k->value.most) && takes_bytes(&k->key, false, k->page, tile) &&
           takes_bytes(&k->value, true, k->page, tile);
}

bool kernel_is_single(const kernel_spec *k)
{
    return k->key.n_codes || k->value.n_codes;
}

bool kernel_is_slow(const kernel_spec *k)
{
    return kernel_is_single(k) || ((k->key.most || k->value.most) && !shares_bytes(k, k->tile));
}

/* The largest tile of at most MOST_STAGE bytes with enough stages for all warps; where there is none the smallest,
 * with fewer stages, then with fewer warps. */
static bool cut(kernel_spec *k, const kernel_target *target)
{
    for (uint32_t tile = 64; tile >= 16; tile /= 2)
        if (tile_divides(k, tile) && tile_bytes(&k->key, tile) + tile_bytes(&k->value, tile) <= MOST_STAGE &&
            try_cut(k, target, tile, MOST_WARPS, shares_bytes(k, tile) ? LEAST_STAGES : GOOD_STAGES))
            return true;
    uint32_t tile = least_tile(k);
    while (tile < 64 && !tile_divides(k, tile)) tile *= 2;
    for (uint32_t warps = MOST_WARPS; warps > 1; warps /= 2)
        if (tile_divides(k, tile) && try_cut(k, target, tile, warps, LEAST_STAGES)) return true;
    return false;
}

kvc_status kernel_shape_choose(kernel_spec *k, const kernel_target *target, kvc_error *err)
{
    k->columns = k->group <= 8 ? 8 : 16; /* one token's query heads, in eights */
    k->room = target->shared_bytes;
    k->key.entries = entries_of(&k->key);
    k->value.entries = entries_of(&k->value);
    bool is_cut = false, shared = k->key.most || k->value.most;
    if (!tile_divides(k, 64) && !tile_divides(k, 32) && !tile_divides(k, 16))
        return kvc_fail(err, KVC_UNSUPPORTED,
                        "kernels have no tile of whole runs of %u tokens and whole scales%s in pages of %u",
                        least_tile(k), kernel_is_single(k) ? " in multiples of 16 bytes" : "", k->page);
    uint32_t most = shares_bytes(k, least_tile(k)) ? MOST_TABLE / 2 : MOST_TABLE;
    for (uint32_t bytes = most; bytes >= LEAST_TABLE; bytes /= 2) { /* fewer copies rather than fewer warps */
        set_tables(k, bytes);
        is_cut = cut(k, target);
        if (!shared || (is_cut && k->warps == MOST_WARPS)) break;
    }
    if (is_cut) return KVC_OK;
    return kvc_fail(err, KVC_UNSUPPORTED, "%s has too little shared memory: %u bytes", target->name,
                    target->shared_bytes);
}
