/* arena.h - one block of memory for many arrays: planned first, handed out by the same calls once it is there. */
#ifndef RUNTIME_ARENA_H
#define RUNTIME_ARENA_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_ALIGNMENT 64u

/* Offsets first (base NULL), pointers once the block is there. */
typedef struct arena {
    uint8_t *base;
    size_t used;
    bool overflow;
} arena;

/* Room for `count` things of `size` bytes; NULL while planning. */
static inline void *arena_place(arena *a, uint64_t count, uint64_t size)
{
    uint64_t bytes, end;
    size_t at = a->used;
    if (__builtin_mul_overflow(count, size, &bytes) || __builtin_add_overflow(at, bytes, &end) ||
        end > PTRDIFF_MAX - ARENA_ALIGNMENT) {
        a->overflow = true;
        return NULL;
    }
    a->used = (size_t)((end + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT);
    return a->base ? a->base + at : NULL;
}

/* What is placed next begins at a multiple of `alignment`, a power of two, from the base. */
static inline void arena_align(arena *a, size_t alignment)
{
    a->used = (a->used + alignment - 1) & ~(alignment - 1);
}

#endif
