/* eigen_order.h - what a library finds, as eigen() gives it. */
#ifndef CALIB_BACKEND_EIGEN_ORDER_H
#define CALIB_BACKEND_EIGEN_ORDER_H
#include <stddef.h>

/* Ascending values [d] with eigenvectors in the rows of vectors [d][d]: descending, largest components positive. */
void eigen_order(size_t d, double *values, double *vectors);
#endif
