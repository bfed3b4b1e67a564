/* emulate.cpp - the fibers of emulate.h. */
#include "emulate.h"

#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
#include <memory>
#include <vector>

#define WARP 32u
#define STACK_BYTES (64u << 10)
#define MOST_WORDS 8u

/* Threads that meet: how many have come to the present meeting, and the number of it. */
struct meeting {
    uint32_t come, n;
    uint64_t number;
};

struct warp {
    meeting here;
    uint32_t words[2][WARP * MOST_WORDS]; /* by turns: those of the last meeting stay readable */
};

struct fiber {
    emulated_lane lane;
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool done;
};

emulated_lane *emulate_self;
dim3 emulate_block_dim, emulate_grid_dim;
unsigned char *emulate_shared;

static bool descending;
static std::vector<fiber> fibers;
static std::vector<warp> warps;
static meeting whole_block;
static ucontext_t scheduler;
static fiber *current;
static const std::function<void()> *kernel;
static uint64_t events; /* arrivals and ends: no round without one */

void emulate_order(bool from_the_last)
{
    descending = from_the_last;
}

/* The last to come opens the meeting for all. */
static void close_if_all(meeting *m)
{
    if (m->come < m->n || m->n == 0) return;
    m->come = 0;
    m->number++;
}

static void meet(meeting *m)
{
    uint64_t number = m->number;
    m->come++;
    events++;
    close_if_all(m);
    while (m->number == number) swapcontext(&current->context, &scheduler);
}

static warp *own_warp(void)
{
    return &warps[current->lane.index / WARP];
}

void __syncthreads(void)
{
    meet(&whole_block);
}

void __syncwarp(uint32_t)
{
    meet(&own_warp()->here);
}

const uint32_t *emulate_exchange(const uint32_t *words, uint32_t n)
{
    warp *w = own_warp();
    uint32_t *all = w->words[w->here.number % 2];
    if (n > MOST_WORDS) abort();
    memcpy(all + current->lane.index % WARP * n, words, n * sizeof *words);
    meet(&w->here);
    return all;
}

static void run_thread(void)
{
    (*kernel)();
    current->done = true;
    events++;
    warp *w = own_warp();
    w->here.n--;
    close_if_all(&w->here); /* a thread that has ended is not waited for */
    whole_block.n--;
    close_if_all(&whole_block);
    swapcontext(&current->context, &scheduler);
}

static void start(fiber *f, uint32_t index, dim3 at)
{
    f->lane.index = index;
    f->lane.thread = dim3(index % emulate_block_dim.x, index / emulate_block_dim.x % emulate_block_dim.y,
                          index / emulate_block_dim.x / emulate_block_dim.y);
    f->lane.block = at;
    f->done = false;
    if (!f->stack) f->stack.reset(new char[STACK_BYTES]);
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack.get();
    f->context.uc_stack.ss_size = STACK_BYTES;
    f->context.uc_link = NULL;
    makecontext(&f->context, run_thread, 0);
}

static void turn(fiber *f)
{
    if (f->done) return;
    current = f;
    emulate_self = &f->lane;
    swapcontext(&scheduler, &f->context);
}

static void run_block(dim3 at)
{
    uint32_t n = (uint32_t)fibers.size();
    for (uint32_t i = 0; i < n; i++) start(&fibers[i], i, at);
    for (warp &w : warps) w.here = meeting{0, WARP, 0};
    whole_block = meeting{0, n, 0};
    for (uint64_t before = ~events; whole_block.n;) {
        if (before == events) {
            fprintf(stderr, "emulate: block %u: threads wait for others that never come\n", at.x);
            abort();
        }
        before = events;
        for (uint32_t i = 0; i < n; i++) turn(&fibers[descending ? n - 1 - i : i]);
    }
}

void emulate_launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &body)
{
    uint32_t n = block.x * block.y * block.z;
    if (n == 0 || n % WARP || n > 1024) abort();
    emulate_block_dim = block;
    emulate_grid_dim = grid;
    kernel = &body;
    fibers.resize(n);
    warps.resize(n / WARP);
    void *shared; /* to the byte, so that AddressSanitizer sees accesses beyond it */
    if (posix_memalign(&shared, 1024, shared_bytes + !shared_bytes)) abort();
    emulate_shared = (unsigned char *)shared;
    for (uint32_t z = 0; z < grid.z; z++)
        for (uint32_t y = 0; y < grid.y; y++)
            for (uint32_t x = 0; x < grid.x; x++) {
                memset(shared, 0xff, shared_bytes);
                run_block(dim3(x, y, z));
            }
    free(shared);
}
