/* backend.h - the operations that a forward pass and its measurements need, as one flat table of function pointers.
 *
 * Pointers named dev_* are the backend's memory (plain memory on the CPU); others are host memory. All arithmetic is
 * fp32 unless said; rows are row-major. Calls may be asynchronous until sync(). An operation that a backend lacks
 * returns KVC_UNSUPPORTED with its name: there is no silent fallback. Results never depend on the number of threads:
 * work is cut into fixed blocks and every reduction has a fixed order. */
#ifndef CALIB_BACKEND_BACKEND_H
#define CALIB_BACKEND_BACKEND_H
#include <stdbool.h>
#include "kvc/codec.h"

/* Causal attention of one sequence.
 *   q [T][n_heads][d], k v [T][n_kv_heads][d], after RoPE; out [n_rows][n_heads][d]
 * With k_page and v_page (what the cache's pages decode to, [T][n_kv_heads][d]) it is decode-faithful: query t reads
 * token j from k_page, v_page where j lies in a page that is compressed when t + 1 tokens are present, i.e. sinks <=
 * j < sinks + kvc_tokens_compressed(policy, t + 1), and from k, v elsewhere. Either may be NULL: exact. */
typedef struct attention_args {
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim;
    float scale; /* of the scores; 1 / sqrt(d) */
    const float *q, *k, *v;
    const float *k_page, *v_page;
    kvc_token_policy policy;
    float *out;      /* all rows: [T][n_heads][d] */
    uint32_t n_more; /* as many more sequences of T tokens follow, row behind row, in all of these arrays */
} attention_args;

/* Per row of logits: what the comparison of a reference and a compressed model needs. */
typedef struct logit_row {
    double nll_ref, nll_cfg; /* -log p(target), nats */
    double kl;               /* KL(p_ref || p_cfg), nats, >= 0 up to rounding */
    uint32_t top_ref, top_cfg;
} logit_row;

/* What is known of one row after a part of the vocabulary, sums relative to the largest logit so far. */
typedef struct logit_sums {
    float max_ref, max_cfg, target_ref, target_cfg;
    double sum_ref, sum_cfg; /* of exp(x - max) */
    double cross;            /* of exp(ref - max_ref) (ref - cfg) */
    uint32_t top_ref, top_cfg;
} logit_sums;
void logit_sums_start(size_t rows, logit_sums *sums);
logit_row logit_sums_finish(const logit_sums *s);

/* What candidate codecs do to sampled query rows of one sequence, everything else exact. Only rows in compressed
 * pages differ from k and v. D = n_heads * d. A candidate's delta is its attention output minus the exact one, before
 * W_o. */
typedef struct probe_args {
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim;
    float scale;
    kvc_token_policy policy;
    const float *q, *k, *v; /* as in attention_args */
    uint32_t n_rows;
    const uint32_t *rows; /* host [n_rows], ascending positions */
    uint32_t n_keys, n_values;
    const float *const *k_page; /* host array of [T][n_kv_heads][d] in backend memory */
    const float *const *v_page;
    float *out;                /* [n_rows][D] exact attention output */
    float *const *delta_key;   /* [n_keys] -> [n_rows][D], values exact */
    float *const *delta_value; /* [n_values] -> [n_rows][D], keys exact */
    double *score_error;       /* host [n_keys], added to: sum of |a - a^| over visible (query, key) pairs */
    const bool *paired;        /* host [n_keys]: keys whose pairs with every value are measured; NULL: all */
    double *output_error; /* host [n_keys][n_values], added to: sum of |o - o^| / |o| over rows and D; of keys that
                           * are not paired nothing */
    double *n_scores;     /* host, added to: number of pairs behind score_error */
} probe_args;

/* Second-order sensitivity of one sequence's keys and values (methods.md section 3). With exact attention A and
 * outputs O, m_ij = 1 where key j lies in a page that is compressed when i + 1 tokens are present (as in
 * attention_args), and
 *     r_ij = (V_j - O_i)' M_h (V_j - O_i),
 * for every KV head, h over the query heads of its group:
 *     value_weight[j] = sum_h sum_i m_ij A_ij^2          key_weight[j] = sum_h sum_i m_ij A_ij^2 r_ij
 *     query_weight[i] = sum_j m_ij A_ij^2 r_ij  (per query head)
 *     anchor_score[j] = sum_h sum_i m_ij A_ij |V_j - O_i|_1 |q_i|_2 scale     (AnTKV's first-power score)
 * Sums in double (float within a tile), in a fixed order. Never holds T x T. */
typedef struct sensitivity_args {
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim;
    float scale;
    kvc_token_policy policy;
    const float *q, *k, *v;     /* as in attention_args, backend memory */
    const float *output_metric; /* host [n_heads][d][d]: M_h = W_O,h' W_O,h, W_O,h [hidden][d] the head's of W_o */
    double *key_weight;         /* host [n_kv_heads][T], written */
    double *value_weight;       /* host [n_kv_heads][T], written */
    double *query_weight;       /* host [n_heads][T], written */
    double *anchor_score;       /* host [n_kv_heads][T], written; NULL: not wanted */
} sensitivity_args;

/* One table of k-means: Lloyd's iterations from given centroids, each of which becomes the weighted mean of the
 * points nearest to it; one without points moves to the point that costs most. They end where an iteration gains less
 * than LLOYD_LEAST_GAIN of the distortion, or nothing, which is undone. Packed in host memory (nearest.h). */
#define LLOYD_LEAST_GAIN 1e-4
typedef struct lloyd_job {
    const struct packed_points *points;
    double energy; /* of the points: sum of w |x|^2 */
    uint32_t iterations;
    struct packed_centroids *centroids; /* from the start to the result */
    double distortion;                  /* out: sum of w |x - centroid|^2 */
} lloyd_job;

/* What is worth knowing of a pass to say how much memory its operations take. */
typedef struct scratch_shape {
    size_t n_tokens, n_heads, n_kv_heads, head_dim; /* of the longest sequence */
    size_t n_rows, n_keys, n_values;                /* of probe(); 0: none */
    size_t gemm_values;                             /* of the largest x of a gemm() */
    bool sensitivity;                               /* and moments() */
    size_t table_points;                            /* of a table that lloyd() iterates; 0: none */
} scratch_shape;

/* Bytes in host memory, in buffers, and of what one operation at a time takes of a device's memory. */
typedef struct memory_need {
    uint64_t host, dev, scratch;
} memory_need;
/* Of what is held together. */
static inline memory_need memory_sum(memory_need x, memory_need y)
{
    return (memory_need){x.host + y.host, x.dev + y.dev, x.scratch > y.scratch ? x.scratch : y.scratch};
}

typedef struct backend backend;
struct backend {
    char name[16]; /* "cpu", "cuda", "cuda,fast" */
    void *state;
    /* Values of x that gemm() is better called with at a time; 0: it makes no difference. */
    size_t batch_values;
    size_t weight_bytes; /* of a value of a weight */
    void (*close)(backend *b);
    kvc_status (*buffer_new)(backend *b, size_t bytes, void **dev_out, kvc_error *err); /* 64-byte aligned */
    void (*buffer_free)(backend *b, void *dev);                                         /* NULL is fine */
    /* Bytes that buffers may still take; SIZE_MAX where they are host memory, which the system counts. */
    size_t (*room)(backend *b);
    /* Bytes that operations of such shapes take beside their buffers, at most. */
    memory_need (*scratch)(const backend *b, const scratch_shape *s);
    /* The most of its own memory that a device's backend has taken so far; 0 where it has none of its own. */
    uint64_t (*peak)(const backend *b);
    /* src is read before upload() returns and may change then. dev memory of both copies lies in one buffer. */
    kvc_status (*upload)(backend *b, void *dev_dst, const void *src, size_t bytes, kvc_error *err);
    kvc_status (*download)(backend *b, void *dst, const void *dev_src, size_t bytes, kvc_error *err);
    kvc_status (*sync)(backend *b, kvc_error *err);
    /* Between buffers, or ranges of one that do not overlap, in the order of the operations. */
    kvc_status (*copy)(backend *b, void *dev_dst, const void *dev_src, size_t bytes, kvc_error *err);
    /* out [n][width]: rows[i] of x, rows host [n] */
    kvc_status (*gather_rows)(backend *b, size_t n, size_t width, const float *dev_x, const size_t *rows,
                              float *dev_out, kvc_error *err);
    /* n values of a weight, from host memory as with upload(). Weights are what gemm() multiplies with: n *
     * weight_bytes of a buffer in a form of the backend's own, one value after another. */
    kvc_status (*load_weight)(backend *b, void *dev_w, const float *src, size_t n, kvc_error *err);
    /* y[m][n] = x[m][k] w[n][k]^T (+ bias[n]) (+ y if accumulate); w is a weight as stored: [out][in] */
    kvc_status (*gemm)(backend *b, size_t m, size_t n, size_t k, const float *dev_x, const void *dev_w,
                       const float *dev_bias, int accumulate, float *dev_y, kvc_error *err);
    /* metric [n_heads][d][d] host: M_h = W_h' W_h, W_h the d columns of head h of the weight w [rows][n_heads d] */
    kvc_status (*output_metric)(backend *b, size_t rows, size_t n_heads, size_t head_dim, const void *dev_w,
                                float *metric, kvc_error *err);
    /* y = x / sqrt(mean(x^2) + eps) * w per row of `dim` */
    kvc_status (*rmsnorm)(backend *b, size_t rows, size_t dim, const float *dev_x, const float *dev_w, double eps,
                          float *dev_y, kvc_error *err);
    /* rotate x [rows][n_heads][d] in place; channel i pairs with i + d/2 (Hugging Face order); cos, sin [rows][d/2]
     */
    kvc_status (*rope)(backend *b, size_t rows, size_t n_heads, size_t head_dim, const float *dev_cos,
                       const float *dev_sin, float *dev_x, kvc_error *err);
    /* gate = silu(gate) * up, n values */
    kvc_status (*silu_mul)(backend *b, size_t n, float *dev_gate, const float *dev_up, kvc_error *err);
    kvc_status (*attention)(backend *b, const attention_args *args, kvc_error *err);
    /* What a cache holds of rows x [T][n_kv_heads][d]: y_exact = x rounded to fp16 (NULL: not wanted);
     * y_page = the decoded pages for tokens in whole pages (from `sinks` on), x rounded elsewhere. coder->page is
     * policy.page. */
    kvc_status (*transcode)(backend *b, const kvc_coder *coder, const kvc_token_policy *policy, size_t n_tokens,
                            const float *dev_x, float *dev_exact, float *dev_page, kvc_error *err);
    /* logits cfg [rows][n] beside ref [ref_rows][n], row r beside row r mod ref_rows, for the vocabulary entries
     * [first, first + n), which come in ascending order; targets [ref_rows] host; sums [rows] host, from
     * logit_sums_start(). dev_ref and dev_cfg may be the same. */
    kvc_status (*compare_logits)(backend *b, size_t rows, size_t ref_rows, size_t first, size_t n,
                                 const float *dev_ref, const float *dev_cfg, const uint32_t *targets,
                                 logit_sums *sums, kvc_error *err);
    kvc_status (*probe)(backend *b, const probe_args *args, kvc_error *err);
    /* out[r] = sum of squares of row r, in double; host [rows] */
    kvc_status (*row_power)(backend *b, size_t rows, size_t width, const float *dev_x, double *out, kvc_error *err);
    /* *sum += sum of |x - y| / |x| over n values (those with x = 0 are left out), *count += their number */
    kvc_status (*relative_error)(backend *b, size_t n, const float *dev_x, const float *dev_y, double *sum,
                                 double *count, kvc_error *err);
    /* per column of x [rows][width], added to: sum, square; lowered and raised: min, max; host [width] each (NULL:
     * not wanted) */
    kvc_status (*column_stats)(backend *b, size_t rows, size_t width, const float *dev_x, double *sum, double *square,
                               double *min, double *max, kvc_error *err);
    kvc_status (*sensitivity)(backend *b, const sensitivity_args *args, kvc_error *err);
    /* Weighted moments per head of rows x [rows][n_heads][d], weights host [n_heads][weight_stride] of which the
     * first `rows` are read; added to, host, in double: weight [n_heads] sum of w; first [n_heads][d] sum of w x;
     * second [n_heads][d][d] sum of w x x' (full, symmetric). */
    kvc_status (*moments)(backend *b, size_t rows, size_t n_heads, size_t head_dim, const float *dev_x,
                          const double *weights, size_t weight_stride, double *weight, double *first, double *second,
                          kvc_error *err);
    /* Tables that lloyd() is best called with at a time; 1: one by one, by several threads at once. */
    uint32_t lloyd_batch;
    kvc_status (*lloyd)(backend *b, uint32_t n, lloyd_job *jobs, kvc_error *err);
    /* Symmetric finite matrices a [n][d][d]; values [n][d] descending, vectors [n][d][d]: row k of each is the unit
     * eigenvector of its values[k], whose largest component (the first of them) is > 0. All host, in double. */
    kvc_status (*eigen)(backend *b, uint32_t n, size_t d, const double *a, double *values, double *vectors,
                        kvc_error *err);
};

/* threads 0: as many as the machine has. The number holds for all OpenMP regions that the calling thread starts from
 * then on. Owned: (*b)->close(b). */
kvc_status backend_open_cpu(backend **out, int threads, kvc_error *err);
/* device: "cpu"; "auto", which is the CPU; "cuda" or "cuda:N", the first or N-th NVIDIA GPU (from 0). On a GPU all is
 * fp32 as on the CPU; with ",fast" behind ("cuda,fast", "cuda:1,fast") weights are bfloat16, gemm() rounds x to it,
 * attention() rounds to fp16, and both multiply by tensor cores, sums and results staying fp32. No other operation
 * differs. */
kvc_status backend_open(backend **out, const char *device, int threads, kvc_error *err);

/* The device of such a name: a GPU's number, or -1, which is the CPU. */
typedef struct backend_device {
    int cuda;
    bool fast;
} backend_device;
kvc_status backend_parse_device(backend_device *out, const char *device, kvc_error *err);
/* Is there such a GPU, and has this build code for it? It is the current device then. */
kvc_status backend_check_cuda(int ordinal, kvc_error *err);
#endif
