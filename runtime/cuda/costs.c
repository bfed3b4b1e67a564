/* costs.c - see costs.h. Instructions of a tile of 64 tokens, of which a smaller one has about a share: of codes that
 * heads share out in products of bytes as they were counted, of others by what kernels do for each code. */
#include "costs.h"
#include "kvc/codec_list.h"
#include "maps.h"

#define OF_TILE 150u   /* whatever its codes */
#define OF_NEXT 65000u /* going on to another head: its tables, another run */
#define OF_CHANNEL 2u  /* of a side whose heads are all alike */
#define OF_LOOK_UP 3u  /* in a table of halves */
#define KEY_GROUP 62u  /* of eight words, in products of bytes */
#define VALUE_GROUP 95u

/* One side of a layer. */
typedef struct side {
    const uint32_t *counts; /* [heads] codes; NULL: heads are alike */
    uint32_t d;
    bool is_value;
} side;

static side side_of(const kvc_coder *coder, bool is_value)
{
    return (side){cuda_table_of(coder).counts, coder->latent_dim, is_value};
}

static uint32_t groups_of(uint32_t n, uint32_t of_group)
{
    return (n + of_group - 1) / of_group;
}

/* Words of eight groups, as staged_shared has them (kernels/fragment/shared.cuh): one for each code, or for each four
 * channels where codes have more; groups of heads with fewer channels in codes are taken all the same. */
static uint32_t cost_of_words(const side *s, uint32_t head)
{
    uint32_t k = s->counts[head], words = k > s->d / 4 ? k : s->d / 4;
    return groups_of(words, 8) * (s->is_value ? VALUE_GROUP : KEY_GROUP);
}

/* n codes of c channels of keys as halves, for 8 blocks of 8 tokens (kernels/template/attend_shared.cuh): groups of
 * four codes and a product for each four channels, or of sixteen channels and one product. */
static uint32_t cost_of_keys(uint32_t n, uint32_t c)
{
    if (c >= 4) return 8 * groups_of(n, 4) * (OF_LOOK_UP + c / 4);
    return 8 * groups_of(n * c, 16) * (4 / c * (OF_LOOK_UP + 1) + 1);
}

/* The same of values, for 4 blocks of 16 tokens: groups of eight codes with four look-ups, and for each two channels
 * four permutations and a product. */
static uint32_t cost_of_values(uint32_t n, uint32_t c)
{
    return groups_of(n, 8) * (4 * 4 * OF_LOOK_UP + 4 * 5 * c / 2);
}

static uint32_t cost_of_halves(const side *s, uint32_t head)
{
    kvc_code_class classes[2];
    uint32_t n = kvc_share_classes(s->d, s->counts[head], classes), cost = 0;
    for (uint32_t i = 0; i < n; i++)
        cost +=
            s->is_value ? cost_of_values(classes[i].n, classes[i].dims) : cost_of_keys(classes[i].n, classes[i].dims);
    return cost;
}

static uint32_t cost_of(const side sides[2], bool in_words, uint32_t head)
{
    uint32_t cost = OF_TILE;
    for (int i = 0; i < 2; i++)
        cost += !sides[i].counts ? OF_CHANNEL * sides[i].d
                : in_words       ? cost_of_words(&sides[i], head)
                                 : cost_of_halves(&sides[i], head);
    return cost;
}

/* Has a side products of bytes (kernels/template/attend_bytes.cuh)? Integers, byte tables, and codes that heads share
 * out whose tables of 4, 8 and 16 channels are such. */
static bool takes_bytes(const kvc_coder *coder)
{
    const kvc_codec *c = &coder->codec;
    bool all = true;
    if (c->symbol == KVC_SYMBOL_int) return c->bits % 2 == 0;
    if (c->symbol != KVC_SYMBOL_vq) return false;
    if (c->dims) return (c->dims == 4 || c->dims == 8) && kvc_coder_byte_step(coder, c->dims) > 0.0f;
    for (uint32_t dims = 4; dims <= 16; dims *= 2) all = all && kvc_coder_byte_step(coder, dims) > 0.0f;
    return all;
}

static void sum_costs(const side sides[2], bool in_words, uint32_t n_heads, uint32_t *costs)
{
    uint32_t most = 0, sum = 0;
    for (uint32_t i = 0; i < n_heads; i++) {
        uint32_t cost = cost_of(sides, in_words, i);
        most = cost > most ? cost : most;
    }
    for (uint32_t i = 0; i < n_heads; i++) {
        costs[i] = sum;
        sum += (cost_of(sides, in_words, i) * CUDA_MOST_COST + most / 2) / most;
    }
    costs[n_heads] = sum, costs[n_heads + 1] = CUDA_MOST_COST, costs[n_heads + 2] = OF_NEXT * CUDA_MOST_COST / most;
}

bool cuda_tile_costs(const kvc_coder *key, const kvc_coder *value, uint32_t *costs)
{
    const side sides[2] = {side_of(key, false), side_of(value, true)};
    if (!sides[0].counts && !sides[1].counts) return false;
    if (costs) sum_costs(sides, takes_bytes(key) && takes_bytes(value), key->n_kv_heads, costs);
    return true;
}

void cuda_word_costs(uint32_t n_heads, uint32_t d, const uint32_t *keys, const uint32_t *values, uint32_t *costs)
{
    const side sides[2] = {{keys, d, false}, {values, d, true}};
    sum_costs(sides, true, n_heads, costs);
}
