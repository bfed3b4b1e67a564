/* had.c - transform "had": the orthonormal fast Walsh-Hadamard transform of a head. FORMAT.md, "had".
 *
 * A head dimension that is not a power of two is cut into blocks of its largest power-of-two divisor (80 = 5
 * x 16). Stages run with h = 1, 2, 4, ... and the factor 1 / sqrt(n) comes last: the order fixes every bit.
 * The matrix is symmetric and its own inverse, so that inverse and query folding are the same map. n log2 n
 * additions a row. */
#include <math.h>
#include "codec/pieces.h"
#include "simd.h"

KVC_CLONES static void walsh_hadamard(float *restrict x, uint32_t n, float factor)
{
    for (uint32_t h = 1; h < n; h *= 2) {
        for (uint32_t i = 0; i < n; i += 2 * h) {
            for (uint32_t j = i; j < i + h; j++) {
                float a = x[j], b = x[j + h];
                x[j] = a + b;
                x[j + h] = a - b;
            }
        }
    }
    for (uint32_t i = 0; i < n; i++) x[i] *= factor;
}

static void forward(kvc_stage stage, const float *x, float *y)
{
    uint32_t n = stage.dim & -stage.dim;
    float factor = (float)(1.0 / sqrt((double)n));
    memcpy(y, x, stage.dim * sizeof *y);
    for (uint32_t i = 0; i < stage.dim; i += n) walsh_hadamard(y + i, n, factor);
}

static void inverse(kvc_stage stage, const float *y, float mass, float *x)
{
    (void)mass;
    forward(stage, y, x);
}

static float fold(kvc_stage stage, const float *q, float *folded)
{
    forward(stage, q, folded);
    return 0.0f;
}

const kvc_transform kvci_transform_had = {.forward = forward, .inverse = inverse, .fold = fold};
