/* water.c - see water.h. Cover and Thomas, "Elements of Information Theory", theorem 10.3.3. */
#include "water.h"

#include <math.h>

#define LEAST_ENERGY 1e-30
#define STEPS 100

static double sum_of_rates(size_t n, const double *logs, double level)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += fmax(0.0, .5 * (logs[i] - level));
    return sum;
}

void water_rates(size_t n, const double *energy, double total, double *rates)
{
    double high = log2(LEAST_ENERGY), low = high - 2.0 * total;
    for (size_t i = 0; i < n; i++) {
        rates[i] = log2(fmax(energy[i], LEAST_ENERGY));
        high = fmax(high, rates[i]);
    }
    for (int step = 0; step < STEPS; step++) {
        double level = .5 * (low + high);
        if (sum_of_rates(n, rates, level) > total)
            low = level;
        else
            high = level;
    }
    for (size_t i = 0; i < n; i++) rates[i] = fmax(0.0, .5 * (rates[i] - high));
}
