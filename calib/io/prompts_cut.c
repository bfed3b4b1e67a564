/* prompts_cut.c - token lists into independent sequences, mixed and sliced without any chance involved. */
#include "prompts.h"

#include <stdlib.h>
#include <string.h>
#include "sha256.h"

void sequences_free(sequence_set *s)
{
    free(s->ids);
    free(s->first);
    free(s->file);
    *s = (sequence_set){0};
}

static kvc_status allocate(sequence_set *s, size_t n, size_t n_tokens, kvc_error *err)
{
    *s = (sequence_set){.n = n};
    s->ids = malloc((n_tokens ? n_tokens : 1) * sizeof *s->ids);
    s->first = calloc(n + 1, sizeof *s->first);
    s->file = calloc(n ? n : 1, sizeof *s->file);
    if (s->ids && s->first && s->file) return KVC_OK;
    sequences_free(s);
    return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu tokens", n_tokens);
}

/* Sequence `i` of `from` behind the first `at` of `to`. */
static void copy_sequence(sequence_set *to, size_t at, const sequence_set *from, size_t i)
{
    size_t n = from->first[i + 1] - from->first[i];
    memcpy(to->ids + to->first[at], from->ids + from->first[i], n * sizeof *to->ids);
    to->first[at + 1] = to->first[at] + n;
    to->file[at] = from->file[i];
}

/* ---- cutting ------------------------------------------------------------------------------------------------- */

typedef struct piece {
    size_t start, n; /* tokens of the file */
    bool prefix;     /* one more before them */
} piece;

/* The next sequence from `start` on within `room` tokens; fewer than 2 tokens: the end. A prefix that the text itself
 * has at this place is not doubled. */
static piece next_piece(const token_list *tokens, size_t start, uint64_t room, int64_t prefix)
{
    piece p = {.start = start};
    if (start >= tokens->n || room < 2) return p;
    p.prefix = prefix >= 0 && tokens->ids[start] != (uint64_t)prefix;
    p.n = tokens->n - start < room - p.prefix ? tokens->n - start : (size_t)(room - p.prefix);
    return p;
}

static size_t piece_tokens(piece p)
{
    return p.n + p.prefix;
}

kvc_status sequences_cut(sequence_set *out, const prompt_file *file, uint32_t file_index, uint32_t seq_len,
                         int64_t prefix, uint64_t max_tokens, kvc_error *err)
{
    *out = (sequence_set){0};
    if (seq_len < 2) return kvc_fail(err, KVC_INVALID, "a sequence length of %u is too short: at least 2", seq_len);
    uint64_t room = max_tokens ? max_tokens : UINT64_MAX;
    size_t most = file->tokens.n / (seq_len - (prefix >= 0)) + 1;
    if (most > room / seq_len) most = (size_t)(room / seq_len) + 1;
    KVC_TRY(allocate(out, most, file->tokens.n + (prefix >= 0 ? most : 0), err));
    out->n = 0;
    for (size_t start = 0;;) {
        piece p = next_piece(&file->tokens, start, room < seq_len ? room : seq_len, prefix);
        if (piece_tokens(p) < 2) break;
        size_t at = out->first[out->n];
        if (p.prefix) out->ids[at] = (uint32_t)prefix;
        memcpy(out->ids + at + p.prefix, file->tokens.ids + start, p.n * sizeof *out->ids);
        out->file[out->n] = file_index;
        out->first[++out->n] = at + piece_tokens(p);
        start += p.n;
        room -= piece_tokens(p);
    }
    return KVC_OK;
}

/* ---- mixing and slicing -------------------------------------------------------------------------------------- */

static kvc_status mix(sequence_set *out, const sequence_set *sets, size_t n_sets, kvc_error *err)
{
    size_t n = 0, n_tokens = 0, longest = 0;
    for (size_t i = 0; i < n_sets; i++) {
        n += sets[i].n;
        n_tokens += sequences_tokens(&sets[i]);
        if (sets[i].n > longest) longest = sets[i].n;
    }
    KVC_TRY(allocate(out, n, n_tokens, err));
    size_t at = 0;
    for (size_t round = 0; round < longest; round++)
        for (size_t i = 0; i < n_sets; i++)
            if (round < sets[i].n) copy_sequence(out, at++, &sets[i], round);
    return KVC_OK;
}

kvc_status sequences_mix(sequence_set *out, const prompt_file *files, size_t n_files, uint32_t seq_len,
                         int64_t prefix, kvc_error *err)
{
    *out = (sequence_set){0};
    sequence_set *sets = calloc(n_files ? n_files : 1, sizeof *sets);
    kvc_status status = sets ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < n_files && status == KVC_OK; i++)
        status = sequences_cut(&sets[i], &files[i], (uint32_t)i, seq_len, prefix, 0, err);
    if (status == KVC_OK) status = mix(out, sets, n_files, err);
    for (size_t i = 0; sets && i < n_files; i++) sequences_free(&sets[i]);
    free(sets);
    return status;
}

kvc_status sequences_slice(sequence_set *out, const sequence_set *in, size_t begin, size_t end, kvc_error *err)
{
    *out = (sequence_set){0};
    if (begin > end || end > in->n)
        return kvc_fail(err, KVC_INVALID, "sequences %zu to %zu of %zu do not exist", begin, end, in->n);
    KVC_TRY(allocate(out, end - begin, in->n ? in->first[end] - in->first[begin] : 0, err));
    for (size_t i = begin; i < end; i++) copy_sequence(out, i - begin, in, i);
    return KVC_OK;
}

/* ---- what a set holds ---------------------------------------------------------------------------------------- */

size_t sequences_tokens(const sequence_set *s)
{
    return s->n ? s->first[s->n] : 0;
}

size_t sequences_longest(const sequence_set *s)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->first[i + 1] - s->first[i] > longest) longest = s->first[i + 1] - s->first[i];
    return longest;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && sizeof(size_t) == 8, "hashes are of little-endian words");

/* SHA-256 over SHA-256(ids), SHA-256(first): the ids and where they are cut, not which file they came from. */
uint32_t sequences_files(const sequence_set *s)
{
    uint32_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->file[i] >= n) n = s->file[i] + 1;
    return n;
}

void sequences_sha256(const sequence_set *s, uint8_t out[32])
{
    uint8_t parts[96];
    sha256_bytes(s->ids, sequences_tokens(s) * sizeof *s->ids, parts);
    sha256_bytes(s->first, s->n ? (s->n + 1) * sizeof *s->first : 0, parts + 32);
    sha256_bytes(s->file, s->n * sizeof *s->file, parts + 64);
    sha256_bytes(parts, sizeof parts, out);
}
