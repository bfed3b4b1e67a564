/* eigen_order.c - see eigen_order.h. */
#include "eigen_order.h"

#include <math.h>

static void fix_sign(size_t n, double *vector)
{
    size_t largest = 0;
    for (size_t i = 1; i < n; i++)
        if (fabs(vector[i]) > fabs(vector[largest])) largest = i;
    if (vector[largest] >= 0.0) return;
    for (size_t i = 0; i < n; i++) vector[i] = -vector[i];
}

static void swap(double *a, double *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double held = a[i];
        a[i] = b[i];
        b[i] = held;
    }
}

void eigen_order(size_t d, double *values, double *vectors)
{
    for (size_t k = 0; k < d / 2; k++) {
        swap(values + k, values + d - 1 - k, 1);
        swap(vectors + k * d, vectors + (d - 1 - k) * d, d);
    }
    for (size_t k = 0; k < d; k++) fix_sign(d, vectors + k * d);
}
