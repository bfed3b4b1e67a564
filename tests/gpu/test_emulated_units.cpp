/* test_emulated_units.cpp - the numbers that attend_units.cuh gives: every unit of the list in one part, partial
 * results that are never the same, never more than there is room for, and of a head and sequence side by side; shares
 * by what units cost where that differs from head to head; with a sliding window no unit that no query sees. */
#include "emulate.h"
#include <stdio.h>
#include <algorithm>
#include <vector>
#include "template/attend_units.cuh"

static int failures;

struct grid {
    uint32_t n_heads, n_sequences, of_sequence, n_blocks, n_parts; /* of_sequence: units of each */
    std::vector<uint32_t> costs;                                   /* of a unit of each head; empty: none are given */
    uint32_t next = 0;                                             /* what it costs to go on to another head */
};

static void fail(const grid &g, const char *what, uint32_t unit)
{
    if (failures++) return;
    fprintf(stderr, "%u heads, %u sequences of %u units, %u blocks of %u parts, costs", g.n_heads, g.n_sequences,
            g.of_sequence, g.n_blocks, g.n_parts);
    for (uint32_t cost : g.costs) fprintf(stderr, " %u", cost);
    fprintf(stderr, ", next %u", g.next);
    fprintf(stderr, ", unit %u: %s\n", unit, what);
}

/* Costs as a layer has them. */
static std::vector<uint32_t> sums_of(const grid &g)
{
    const std::vector<uint32_t> &costs = g.costs;
    std::vector<uint32_t> sums = {0};
    for (uint32_t cost : costs) sums.push_back(sums.back() + cost);
    sums.push_back(*std::max_element(costs.begin(), costs.end()));
    sums.push_back(g.next);
    return sums;
}

/* A list of so many units of a head; sums: room for its costs. */
static attend_shared_list list_of(const grid &g, uint32_t of_head, bool by_head, std::vector<uint32_t> &sums)
{
    attend_shared_list l(attend_list(g.n_heads, of_head, g.n_blocks, by_head, g.n_parts));
    if (g.costs.empty()) return l;
    sums = sums_of(g);
    l.weigh(sums.data(), g.n_heads, g.n_blocks);
    return l;
}

static attend_range range_of(const attend_shared_list &l, uint32_t block)
{
    return attend_range{begin_of(l, block), begin_of(l, block + 1)};
}

/* Every unit in one part of one piece of one block, results of parts in ascending order. */
static void check(const grid &g, bool by_head)
{
    uint32_t of_head = g.n_sequences * g.of_sequence, total = g.n_heads * of_head, unit = 0;
    std::vector<uint32_t> sums;
    attend_shared_list l = list_of(g, of_head, by_head, sums);
    uint32_t most = results_of_list(g.n_heads, g.n_sequences, g.n_blocks, g.n_parts);
    int last = -1;
    for (uint32_t block = 0; block < g.n_blocks; block++) {
        attend_range own = range_of(l, block);
        if (own.begin != unit || own.end < own.begin) fail(g, "not behind the block before", own.begin);
        while (unit < own.end) {
            attend_piece p = piece_at(l, own, block, unit);
            attend_shares shares(p);
            if (p.begin != unit || p.end <= p.begin || p.end > own.end || p.parts < 1 || p.parts > g.n_parts ||
                (by_head && p.begin / of_head != (p.end - 1) / of_head))
                fail(g, "not its piece", unit);
            for (uint32_t part = 0; part < p.parts; part++) {
                uint32_t begin = shares.begin(p, part), end = shares.begin(p, part + 1);
                if (begin != unit || end <= begin) fail(g, "not its part", unit);
                for (uint32_t at = begin; at < end; at += g.of_sequence - at % g.of_sequence) {
                    uint32_t sequence = at % of_head / g.of_sequence;
                    int result = (int)result_of(at / of_head, sequence, g.n_sequences, p.number + part);
                    if (result <= last) fail(g, "a result that is another's", at);
                    if (result >= (int)most) fail(g, "more results than there are", at);
                    last = result;
                }
                unit = end;
            }
            if (unit != p.end) fail(g, "units that no part has", unit);
        }
    }
    if (unit != total) fail(g, "units that no block has", unit);
}

struct list {
    grid g;
    std::vector<uint32_t> before;               /* [n_sequences + 1] */
    std::vector<std::vector<uint32_t>> results; /* [n_heads][n_sequences]: those that parts leave */
};

/* A block's piece, run by run. */
static void leave_piece(list &l, const attend_piece &p)
{
    const grid &g = l.g;
    uint32_t of_head = l.before[g.n_sequences];
    attend_shares shares(p);
    for (uint32_t part = 0; part < p.parts; part++)
        for (uint32_t at = shares.begin(p, part), end = shares.begin(p, part + 1); at < end;) {
            uint32_t head = at / of_head, i = 0, in_head = at % of_head;
            while (l.before[i + 1] <= in_head) i++;
            l.results[head * g.n_sequences + i].push_back(result_of(head, i, g.n_sequences, p.number + part));
            at = std::min(end, head * of_head + l.before[i + 1]);
        }
}

/* Of all pages; blocks' shares lie behind each other. */
static void leave_pages(list &l, const attend_shared_list &units)
{
    uint32_t before = 0;
    for (uint32_t block = 0; block < l.g.n_blocks; block++) {
        attend_range own = range_of(units, block);
        if (own.begin != before || own.end < own.begin) fail(l.g, "not behind the block before", own.begin);
        for (uint32_t at = own.begin; at < own.end;) {
            attend_piece p = piece_at(units, own, block, at);
            leave_piece(l, p);
            at = p.end;
        }
        before = own.end;
    }
    if (before != units.total.n) fail(l.g, "units that no block has", before);
}

static void leave_rows(list &l, const attend_shared_list &units)
{
    for (uint32_t block = 0; block < l.g.n_blocks; block++) {
        attend_piece p = rows_of_block(units, block, l.g.n_blocks);
        leave_piece(l, p);
    }
}

/* Sequences of 0 to 6 units, or up to 12 times as many: results of a head and sequence lie side by side. */
static void check_results(const grid &g, bool by_head, uint32_t times)
{
    for (int rows = 0; rows < (g.costs.empty() ? 2 : 1); rows++) {
        list l = {g, {0}, std::vector<std::vector<uint32_t>>(g.n_heads * g.n_sequences)};
        for (uint32_t i = 0; i < g.n_sequences; i++)
            l.before.push_back(l.before[i] + (g.of_sequence + i * i) % 7 * times);
        uint32_t of_head = l.before[g.n_sequences];
        std::vector<uint32_t> sums;
        attend_shared_list units = list_of(g, of_head, by_head, sums);
        if (of_head && rows)
            leave_rows(l, units);
        else
            leave_pages(l, units);
        for (const std::vector<uint32_t> &results : l.results)
            for (size_t k = 1; k < results.size(); k++)
                if (results[k] != results[k - 1] + 1) fail(g, "a gap in a run", results[k]);
    }
}

/* ---- shares by costs ---- */

static int weighed; /* lists that had shares by costs */

/* The gap before a head's units: what going on costs, or what is left for one share where each head has a block less;
 * with no more blocks than heads none. */
static uint64_t gap_of(const grid &g, uint64_t of_units)
{
    return g.n_blocks > g.n_heads ? std::min<uint64_t>(g.next, of_units / (g.n_blocks - g.n_heads) + 1) : 0;
}

/* Shares by costs wherever they have a unit at least, and no more parts than then have some: a block has the units
 * whose costs begin in its share, shares are equal, and with gaps of a share no block has units of two heads.
 * Otherwise those of a list without costs. */
static void check_shares(const grid &g, uint32_t of_head)
{
    std::vector<uint32_t> sums;
    attend_shared_list l = list_of(g, of_head, true, sums);
    attend_shared_list plain(attend_list(g.n_heads, of_head, g.n_blocks, true, g.n_parts));
    uint64_t most = sums[g.n_heads + 1], of_units = (uint64_t)of_head * sums[g.n_heads], gap = gap_of(g, of_units);
    uint64_t all = of_units + g.n_heads * gap, least = all / g.n_blocks;
    bool due = of_units + (uint64_t)g.n_heads * g.next + most <= UINT32_MAX && least >= most;
    if (due != (l.costs != NULL)) fail(g, "not the kind of shares that are due", of_head);
    if (l.n_parts != (due ? std::min<uint64_t>(g.n_parts, least / most) : g.n_parts)) fail(g, "parts", l.n_parts);
    weighed += due;
    auto position = [&](uint32_t unit) {
        uint64_t head = unit / of_head;
        return of_head * (uint64_t)sums[head] + (head + 1) * gap + unit % of_head * (uint64_t)g.costs[head];
    };
    for (uint32_t block = 0; block < g.n_blocks; block++) {
        attend_range own = range_of(l, block), other = range_of(plain, block);
        if (!due && (own.begin != other.begin || own.end != other.end)) fail(g, "not shares without costs", block);
        if (!due) continue;
        uint64_t longer = all % g.n_blocks, begin = block * least + std::min<uint64_t>(block, longer),
                 end = begin + least + (block < longer);
        uint32_t total = g.n_heads * of_head;
        if ((own.begin < total && position(own.begin) < begin) || (own.begin && position(own.begin - 1) >= begin) ||
            (own.end < total && position(own.end) < end))
            fail(g, "not the units of its share", block);
        if (own.begin == own.end) continue;
        bool two = own.begin / of_head != (own.end - 1) / of_head;
        if (two && gap > least) fail(g, "a block with two heads", block);
        if (!gap && own.end - own.begin < l.n_parts) fail(g, "parts without a unit", block);
    }
}

static const std::vector<std::vector<uint32_t>> some_costs = {
    {255, 254},  {3, 1},    {100, 255},     {255, 9},  {200, 255, 180},
    {1, 255, 1}, {5, 4, 4}, {255, 77, 255}, {7, 7, 7}, {190, 255, 201, 222}};

static void check_costs(void)
{
    for (const std::vector<uint32_t> &costs : some_costs)
        for (uint32_t sequences = 1; sequences <= 4; sequences++)
            for (uint32_t of_sequence = 1; of_sequence <= 150; of_sequence += of_sequence < 40 ? 1 : 11)
                for (uint32_t blocks = 1; blocks <= 9; blocks++)
                    for (uint32_t parts : {1, 2, 3, 4, 8}) {
                        for (uint32_t next : {0u, 40u, 700u, 100000u}) {
                            grid g = {(uint32_t)costs.size(), sequences, of_sequence, blocks, parts, costs, next};
                            check(g, true);
                            check_shares(g, sequences * of_sequence);
                            g.n_sequences = sequences * 3;
                            check_results(g, true, of_sequence > 7 ? 12 : 1);
                        }
                    }
}

/* Lists too long to look at each unit: sums of costs up to 32 bits, and more. */
static void check_long(uint32_t of_head, uint32_t n_blocks)
{
    const grid g = {8, 1, of_head, n_blocks, 12, {255, 170, 201, 170, 233, 255, 188, 255}, 11000};
    std::vector<uint32_t> sums;
    attend_shared_list l = list_of(g, of_head, true, sums);
    check_shares(g, of_head);
    for (uint32_t block = 1; block < n_blocks; block++)
        if (range_of(l, block).begin != range_of(l, block - 1).end)
            fail(g, "not behind the block before", range_of(l, block).begin);
    if (range_of(l, n_blocks - 1).end != 8 * of_head) fail(g, "units that no block has", 0);
}

static void check_divisor(uint32_t n)
{
    attend_divisor d(n);
    for (uint32_t x : {0u, 1u, n - 1, n, n + 1, 2 * n - 1, 2 * n, 131 * n, 1u << 24, (1u << 24) + 1, ~0u - 1, ~0u})
        if (d.under(x) != x / n) {
            failures++;
            fprintf(stderr, "%u / %u is not %u\n", x, n, d.under(x));
        }
}

/* Parts grow with a block's tokens up to what there may be, and have 256 tokens each unless they are four. */
static void check_parts(uint32_t most)
{
    for (uint32_t tokens = 0, before = 0; tokens < 10000; tokens += 16) {
        uint32_t n = parts_of(tokens, most);
        bool good =
            n >= before && n >= 1 && n <= most && (n <= 4 || tokens >= 256 * n) && (n <= 8 || tokens >= 512 * n);
        if (!good || (tokens > 512 * most && n != most)) {
            failures++;
            fprintf(stderr, "%u tokens, %u parts of at most %u\n", tokens, n, most);
        }
        before = n;
    }
}

/* Tiles of columns over warps: all of them, each with parts of its own, and room for all. */
static void check_columns(uint32_t n_warps)
{
    for (uint32_t n = 1; n <= 256; n++) {
        attend_columns c = columns_of(n, n_warps);
        attend_roles roles(c, 3, 5, 7);
        if (c.tiles != n || c.together == 0 || c.together > c.tiles || c.parts * c.together > n_warps || !c.parts ||
            roles.first_result(n - 1, true) + results_of_list(3, 5, 7, c.parts) > roles.n_results()) {
            failures++;
            fprintf(stderr, "%u tiles of columns, %u warps\n", n, n_warps);
        }
    }
}

/* The oldest token that any query sees, by looking at each. */
static uint32_t oldest_seen(const attend_batch &b, uint32_t n_tokens)
{
    for (uint32_t token = 0; token < n_tokens; token++)
        for (uint32_t i = n_tokens - b.n_queries; i < n_tokens; i++)
            if (token <= i && (b.sliding_window == 0 || token + b.sliding_window > i)) return token;
    return n_tokens;
}

static void check_extent(uint32_t n_tokens, uint32_t n_packed, uint32_t sinks, const attend_batch &b)
{
    const uint32_t tile = 16;
    uint32_t oldest = oldest_seen(b, n_tokens), pages = n_packed, row = n_tokens - n_packed; /* the first one seen */
    for (uint32_t token = n_tokens; token-- > oldest;)
        if (token >= sinks && token < sinks + n_packed)
            pages = token - sinks;
        else
            row = token < sinks ? token : token - n_packed;
    int hidden = sight_of(b, n_tokens).oldest;
    attend_sequence s = {0, n_tokens, n_packed, hidden > 0 ? (uint32_t)hidden : 0};
    attend_extent tiles = tiles_of(s, sinks, tile), rows = rows_of(s, sinks);
    bool good = tiles.first + tiles.n == n_packed / tile && rows.first == row / EXACT_TOKENS &&
                rows.first + rows.n == share_of(n_tokens - n_packed, EXACT_TOKENS);
    if (good && (pages == n_packed ? tiles.n == 0 : tiles.first == pages / tile)) return;
    failures++;
    fprintf(stderr, "%u tokens, %u packed, %u sinks, %u queries, window %u: tiles %u + %u, rows %u + %u\n", n_tokens,
            n_packed, sinks, b.n_queries, b.sliding_window, tiles.first, tiles.n, rows.first, rows.n);
}

static attend_batch batch_of(uint32_t n_queries, uint32_t sliding_window)
{
    attend_batch b = {};
    b.n_queries = n_queries, b.sliding_window = sliding_window;
    return b;
}

static void check_extents(void)
{
    for (uint32_t n_packed = 0; n_packed <= 64; n_packed += 32)
        for (uint32_t sinks = 0; sinks <= 20; sinks += 4)
            for (uint32_t queries = 1; queries <= 16; queries += 5)
                for (uint32_t window = 0; window <= 130; window++)
                    check_extent(sinks + n_packed + 40, n_packed, sinks, batch_of(queries, window));
}

int main(void)
{
    for (uint32_t heads = 1; heads <= 3; heads++)
        for (uint32_t sequences = 1; sequences <= 4; sequences++)
            for (uint32_t of_sequence = 1; of_sequence <= 40; of_sequence++)
                for (uint32_t blocks = 1; blocks <= 9; blocks++)
                    for (uint32_t parts = 1; parts <= 8; parts++) {
                        for (int by_head = 0; by_head < 2; by_head++) {
                            check(grid{heads, sequences, of_sequence, blocks, parts, {}}, by_head);
                            check_results(grid{heads, sequences * 3, of_sequence, blocks, parts, {}}, by_head, 1);
                        }
                    }
    check_costs();
    for (uint32_t of_head : {0u, 1u, 100u, 8192u, 1u << 20, (1u << 20) + 1, 2486952u, 2486953u, 1u << 22, 1u << 28})
        for (uint32_t blocks : {1, 2, 3, 78, 132, 148, 1024}) check_long(of_head, blocks);
    if (weighed == 0) failures++;
    for (uint32_t warps = 1; warps <= 16; warps++) check_columns(warps), check_parts(warps);
    check_extents();
    for (uint32_t n = 1; n < 1u << 31; n += n / 3 + 1) check_divisor(n);
    return failures != 0;
}
