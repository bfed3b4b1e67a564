/* rope.c - angles of rotary position embedding (Su et al., 2021), plain, linearly scaled, or by Llama 3's rule.
 * The frequency is rounded to fp32 and multiplied with the position in fp32, as the models were trained: at position
 * 10^5 the exact product would be another angle. Cost: one sine and cosine per position and pair, once per pass. */
#include "model_private.h"

#include <math.h>

/* Wavelengths above original / low are stretched by the factor, those below original / high kept, between them a
 * mixture. */
static double scale_llama3(const model_config *c, double frequency)
{
    double turns = c->rope_original_positions * frequency / (2 * M_PI); /* over the original context */
    double mix = (turns - c->rope_low_factor) / (c->rope_high_factor - c->rope_low_factor);
    mix = fmin(1, fmax(0, mix));
    return (1 - mix) * frequency / c->rope_factor + mix * frequency;
}

static float frequency_of(const model_config *c, size_t pair)
{
    double frequency = (float)(1 / pow(c->rope_theta, 2.0 * (double)pair / c->head_dim));
    if (c->scaling == ROPE_LINEAR) frequency /= c->rope_factor;
    if (c->scaling == ROPE_LLAMA3) frequency = scale_llama3(c, frequency);
    return (float)frequency;
}

void rope_fill(const model_config *c, size_t first, size_t n, float *cosine, float *sine)
{
    size_t half = c->head_dim / 2;
    for (size_t i = 0; i < half; i++) {
        float frequency = frequency_of(c, i);
        for (size_t t = 0; t < n; t++) {
            float angle = (float)(first + t) * frequency;
            cosine[t * half + i] = (float)cos(angle);
            sine[t * half + i] = (float)sin(angle);
        }
    }
}
