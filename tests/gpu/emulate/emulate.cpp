/* emulate.cpp - the fibers of emulate.h. */
#include "emulate.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
#include <map>
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

struct copy {
    void *to;
    const void *from;
    uint32_t n_bytes;
};

/* What is on its way to a barrier in shared memory. */
struct arrivals {
    std::vector<copy> copies; /* not made yet */
    uint32_t expected, come, parity;
    bool begun; /* with whatever number of bytes, 0 too */
};

struct fiber {
    emulated_lane lane;
    jmp_buf at;           /* where it goes on */
    ucontext_t beginning; /* of a thread that has not run yet */
    std::unique_ptr<char[]> stack;
    bool fresh, done;
};

emulated_lane *emulate_self;
dim3 emulate_block_dim, emulate_grid_dim;
unsigned char *emulate_shared;
void (*emulate_enqueue)(cudaStream_t stream, std::function<void()> work);

static bool descending;
static std::vector<fiber> fibers;
static std::vector<warp> warps;
static meeting whole_block;
static std::map<uint64_t *, arrivals> barriers;
static jmp_buf scheduler;
static fiber *current;
static const std::function<void()> *kernel;
static std::vector<emulated_launch> *record;
static uint64_t events; /* arrivals and ends: no round without one */

void emulate_order(bool from_the_last)
{
    descending = from_the_last;
}

void emulate_record(std::vector<emulated_launch> *to)
{
    record = to;
}

/* Back to the scheduler until the thread's next turn. Jumps, since swapcontext() asks the kernel for signal masks. */
static void yield(void)
{
    if (_setjmp(current->at) == 0) _longjmp(scheduler, 1);
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
    while (m->number == number) yield();
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

void emulate_barrier_init(uint64_t *barrier)
{
    barriers[barrier] = arrivals{{}, 0, 0, 0, false};
}

void emulate_barrier_expect(uint64_t *barrier, uint32_t n_bytes)
{
    arrivals &a = barriers.at(barrier);
    if (a.begun) abort(); /* again before it was waited for */
    a.begun = true;
    a.expected = n_bytes;
    events++;
}

void emulate_barrier_copy(uint64_t *barrier, void *to, const void *from, uint32_t n_bytes)
{
    arrivals &a = barriers.at(barrier);
    if ((uintptr_t)to % 16 || (uintptr_t)from % 16 || n_bytes % 16) abort();
    if (descending)
        a.copies.push_back(copy{to, from, n_bytes});
    else
        memcpy(to, from, n_bytes);
    a.come += n_bytes;
}

void emulate_barrier_wait(uint64_t *barrier, uint32_t parity)
{
    arrivals &a = barriers.at(barrier);
    while (a.parity == parity && (!a.begun || a.come < a.expected)) yield();
    if (a.parity != parity) return;
    if (a.come != a.expected) abort();
    for (const copy &c : a.copies) memcpy(c.to, c.from, c.n_bytes);
    a = arrivals{{}, 0, 0, a.parity ^ 1u, false};
    events++;
}

static float half_of(uint32_t pair, uint32_t i)
{
    __half_raw raw;
    raw.x = (unsigned short)(pair >> 16 * i);
    return __half2float(__half(raw));
}

static float bf16_of(uint32_t pair, uint32_t i)
{
    uint32_t bits = i ? pair & 0xffff0000u : pair << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void add_products(float c[4], const uint32_t a[4], const uint32_t b[2], float (*value)(uint32_t, uint32_t))
{
    uint32_t words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]}, lane = current->lane.index % WARP;
    const uint32_t *all = emulate_exchange(words, 6);
    for (uint32_t e = 0; e < 4; e++) {
        uint32_t row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
        double sum = c[e];
        for (uint32_t k = 0; k < 16; k++) {
            uint32_t from_a = (row % 8 * 4 + k % 8 / 2) * 6 + row / 8 + k / 8 * 2,
                     from_b = (column * 4 + k % 8 / 2) * 6 + 4 + k / 8;
            sum += (double)value(all[from_a], k % 2) * (double)value(all[from_b], k % 2);
        }
        c[e] = (float)sum;
    }
}

void emulate_mma(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    add_products(c, a, b, half_of);
}

void emulate_mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    add_products(c, a, b, bf16_of);
}

void emulate_mma_bytes(int c[4], const uint32_t a[4], const uint32_t b[2], bool signed_a, bool signed_b)
{
    uint32_t words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]}, lane = current->lane.index % WARP;
    const uint32_t *all = emulate_exchange(words, 6);
    for (uint32_t e = 0; e < 4; e++) {
        uint32_t row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
        for (uint32_t k = 0; k < 32; k++) {
            uint32_t from_a = all[(row % 8 * 4 + k % 16 / 4) * 6 + row / 8 + k / 16 * 2] >> k % 4 * 8 & 255u,
                     from_b = all[(column * 4 + k % 16 / 4) * 6 + 4 + k / 16] >> k % 4 * 8 & 255u;
            c[e] += (signed_a ? (int)(int8_t)from_a : (int)from_a) * (signed_b ? (int)(int8_t)from_b : (int)from_b);
        }
    }
}

uint32_t emulate_transpose(uint32_t pair)
{
    const uint32_t *all = emulate_exchange(&pair, 1);
    uint32_t lane = current->lane.index % WARP, column = lane / 4, row = lane % 4 * 2, out = 0;
    for (uint32_t i = 0; i < 2; i++) out |= (all[(row + i) * 4 + column / 2] >> column % 2 * 16 & 0xffffu) << i * 16;
    return out;
}

void emulate_load_transposed(const uint8_t *row, uint32_t out[4])
{
    if ((uintptr_t)row % 16) abort();
    uint32_t words[4];
    memcpy(words, row, sizeof words);
    const uint32_t *all = emulate_exchange(words, 4);
    uint32_t lane = current->lane.index % WARP, column = lane / 4, first = lane % 4 * 2;
    for (uint32_t i = 0; i < 4; i++) {
        out[i] = 0;
        for (uint32_t k = 0; k < 2; k++)
            out[i] |= (all[(i * 8 + first + k) * 4 + column / 2] >> column % 2 * 16 & 0xffffu) << k * 16;
    }
}

void emulate_load_matrices(const uint8_t *row, uint32_t out[4])
{
    if ((uintptr_t)row % 16) abort();
    uint32_t words[4];
    memcpy(words, row, sizeof words);
    const uint32_t *all = emulate_exchange(words, 4);
    uint32_t lane = current->lane.index % WARP;
    for (uint32_t i = 0; i < 4; i++) out[i] = all[(i * 8 + lane / 4) * 4 + lane % 4];
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
    _longjmp(scheduler, 1);
}

static void start(fiber *f, uint32_t index, dim3 at)
{
    f->lane.index = index;
    f->lane.thread = dim3(index % emulate_block_dim.x, index / emulate_block_dim.x % emulate_block_dim.y,
                          index / emulate_block_dim.x / emulate_block_dim.y);
    f->lane.block = at;
    f->done = false;
    f->fresh = true;
    if (!f->stack) f->stack.reset(new char[STACK_BYTES]);
    getcontext(&f->beginning);
    f->beginning.uc_stack.ss_sp = f->stack.get();
    f->beginning.uc_stack.ss_size = STACK_BYTES;
    f->beginning.uc_link = NULL;
    makecontext(&f->beginning, run_thread, 0);
}

static void turn(fiber *f)
{
    if (f->done) return;
    current = f;
    emulate_self = &f->lane;
    if (_setjmp(scheduler)) return;
    if (!f->fresh) _longjmp(f->at, 1);
    f->fresh = false;
    setcontext(&f->beginning);
}

static void run_block(dim3 at)
{
    uint32_t n = (uint32_t)fibers.size();
    for (uint32_t i = 0; i < n; i++) start(&fibers[i], i, at);
    for (warp &w : warps) w.here = meeting{0, WARP, 0};
    whole_block = meeting{0, n, 0};
    barriers.clear();
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
    if (record) return record->push_back(emulated_launch{grid, block, shared_bytes, body});
    emulate_block_dim = block;
    emulate_grid_dim = grid;
    kernel = &body;
    fibers.resize(n);
    warps.resize(n / WARP);
    void *shared; /* to the byte, so that AddressSanitizer sees accesses beyond it */
    if (posix_memalign(&shared, 1024, shared_bytes + !shared_bytes)) abort();
    emulate_shared = (unsigned char *)shared;
    for (uint32_t i = 0, all = grid.x * grid.y * grid.z; i < all; i++) {
        uint32_t at = descending ? all - 1 - i : i;
        memset(shared, 0xff, shared_bytes);
        run_block(dim3(at % grid.x, at / grid.x % grid.y, at / grid.x / grid.y));
    }
    free(shared);
}
