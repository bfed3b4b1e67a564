/* tokenizer_bpe.c - byte-pair merges of one word: always the pair of lowest rank, the leftmost of equals.
 *
 * Symbols are a doubly linked list in an array; candidate pairs wait in a binary heap by (rank, position). A
 * candidate is stale, and skipped, once the pair at its position has another rank (a rank belongs to one
 * pair). O(n log n) for n bytes, so a megabyte without a space is as good as any text. Short words are kept
 * in a direct-mapped cache, one line each. A byte that the vocabulary lacks is dropped, as Hugging Face does
 * where there is no unknown token. */
#include "tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

enum { CACHED_BYTES = 30, CACHED_IDS = 6, CACHE_BITS_MAX = 15, CACHE_BITS_MIN = 6 };
static const uint32_t NONE = UINT32_MAX;

typedef struct cache_line {
    uint64_t hash;
    uint32_t ids[CACHED_IDS];
    char word[CACHED_BYTES];
    uint8_t n_bytes, n_ids; /* n_bytes 0: free */
} cache_line;
_Static_assert(sizeof(cache_line) == 64, "one line of the CPU's cache");

typedef struct symbol {
    uint32_t id, previous, next;
    uint32_t rank; /* of the merge with the next symbol; NONE: no merge, or this symbol is gone */
} symbol;

typedef struct candidate {
    uint64_t order; /* rank << 32 | position */
    uint32_t id;    /* of the result */
} candidate;

struct bpe_work {
    const vocab *vocab;
    symbol *symbols;
    candidate *heap;
    size_t n_heap, capacity; /* symbols; the heap holds three times as many */
    text_buffer spelled;
    uint32_t cache_mask;
    cache_line cache[];
};

kvc_status bpe_open(bpe_work **out, const vocab *v, size_t n, kvc_error *err)
{
    unsigned bits = CACHE_BITS_MIN;
    while (bits < CACHE_BITS_MAX && n >> (bits + 4)) bits++;
    size_t lines = (size_t)1 << bits;
    bpe_work *work = *out = calloc(1, sizeof *work + lines * sizeof *work->cache);
    if (!work) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the word cache");
    work->vocab = v;
    work->cache_mask = (uint32_t)(lines - 1);
    return KVC_OK;
}

void bpe_close(bpe_work *work)
{
    if (!work) return;
    free(work->symbols);
    free(work->heap);
    free(work->spelled.bytes);
    free(work);
}

static kvc_status reserve(bpe_work *work, size_t n, kvc_error *err)
{
    if (n <= work->capacity) return KVC_OK;
    size_t capacity = n + n / 2 + 64;
    free(work->symbols);
    free(work->heap);
    work->symbols = malloc(capacity * sizeof *work->symbols);
    work->heap = malloc(3 * capacity * sizeof *work->heap);
    work->capacity = work->symbols && work->heap ? capacity : 0;
    return work->capacity ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for a word of %zu bytes", n);
}

static void heap_push(bpe_work *work, candidate c)
{
    size_t at = work->n_heap++;
    for (; at > 0 && work->heap[(at - 1) / 2].order > c.order; at = (at - 1) / 2)
        work->heap[at] = work->heap[(at - 1) / 2];
    work->heap[at] = c;
}

static candidate heap_pop(bpe_work *work)
{
    candidate top = work->heap[0], last = work->heap[--work->n_heap];
    size_t at = 0, n = work->n_heap;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n) break;
        if (child + 1 < n && work->heap[child + 1].order < work->heap[child].order) child++;
        if (work->heap[child].order >= last.order) break;
        work->heap[at] = work->heap[child];
        at = child;
    }
    work->heap[at] = last;
    return top;
}

/* The pair that starts at `at` has changed. */
static void consider(bpe_work *work, uint32_t at)
{
    symbol *s = &work->symbols[at];
    s->rank = NONE;
    if (s->next == NONE) return;
    const vocab_merge *m = vocab_merge_of(work->vocab, s->id, work->symbols[s->next].id);
    if (!m) return;
    s->rank = m->rank;
    heap_push(work, (candidate){(uint64_t)m->rank << 32 | at, m->id});
}

static void merge_at(bpe_work *work, uint32_t at, uint32_t id)
{
    symbol *s = &work->symbols[at], *gone = &work->symbols[s->next];
    gone->rank = NONE;
    s->id = id;
    s->next = gone->next;
    if (s->next != NONE) work->symbols[s->next].previous = at;
    consider(work, at);
    if (s->previous != NONE) consider(work, s->previous);
}

static uint32_t fill(bpe_work *work, const char *word, size_t n)
{
    uint32_t used = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = work->vocab->byte_id[(unsigned char)word[i]];
        if (id == NO_TOKEN) continue;
        work->symbols[used] = (symbol){id, used - 1, used + 1, NONE}; /* 0 - 1 is NONE */
        used++;
    }
    if (used) work->symbols[used - 1].next = NONE;
    return used;
}

static kvc_status merge_word(bpe_work *work, const char *word, size_t n, token_list *out, kvc_error *err)
{
    KVC_TRY(reserve(work, n, err));
    uint32_t used = fill(work, word, n);
    work->n_heap = 0;
    for (uint32_t i = 0; i < used; i++) consider(work, i);
    while (work->n_heap) {
        candidate c = heap_pop(work);
        uint32_t at = (uint32_t)c.order;
        if (work->symbols[at].rank == (uint32_t)(c.order >> 32)) merge_at(work, at, c.id);
    }
    for (uint32_t i = 0; i < used; i = work->symbols[i].next) {
        KVC_TRY(token_list_push(out, work->symbols[i].id, err));
        if (work->symbols[i].next == NONE) break;
    }
    return KVC_OK;
}

static kvc_status encode_uncached(bpe_work *work, const char *word, size_t n, token_list *out, kvc_error *err)
{
    const vocab *v = work->vocab;
    if (v->ignore_merges) {
        work->spelled.n = 0;
        if (!vocab_spell(&work->spelled, word, n)) return kvc_fail(err, KVC_NO_MEMORY, "out of memory");
        uint32_t id = vocab_find(v, work->spelled.bytes, work->spelled.n);
        if (id != NO_TOKEN && (v->tokens[id].flags & TOKEN_MODEL)) return token_list_push(out, id, err);
    }
    return merge_word(work, word, n, out, err);
}

static uint64_t hash_word(const char *word, size_t n)
{
    uint64_t h = n * 0x9e3779b97f4a7c15u, part = 0;
    for (; n >= 8; n -= 8, word += 8) {
        memcpy(&part, word, 8);
        h = (h ^ part) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    part = 0;
    memcpy(&part, word, n);
    h = (h ^ part) * 0xff51afd7ed558ccdu;
    return h ^ h >> 32;
}

kvc_status bpe_encode(bpe_work *work, const char *word, size_t n, token_list *out, kvc_error *err)
{
    if (n == 0) return KVC_OK;
    if (n > CACHED_BYTES) return encode_uncached(work, word, n, out, err);
    uint64_t hash = hash_word(word, n);
    cache_line *line = &work->cache[hash & work->cache_mask];
    if (line->n_bytes != n || line->hash != hash || memcmp(line->word, word, n)) {
        size_t first = out->n;
        KVC_TRY(encode_uncached(work, word, n, out, err));
        size_t n_ids = out->n - first;
        if (n_ids > CACHED_IDS) return KVC_OK;
        *line = (cache_line){.hash = hash, .n_bytes = (uint8_t)n, .n_ids = (uint8_t)n_ids};
        memcpy(line->word, word, n);
        if (n_ids) memcpy(line->ids, out->ids + first, n_ids * sizeof *line->ids);
        return KVC_OK;
    }
    for (unsigned i = 0; i < line->n_ids; i++) KVC_TRY(token_list_push(out, line->ids[i], err));
    return KVC_OK;
}
