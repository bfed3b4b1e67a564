/* column_stats.cu - a thread walks down one column of one of OP_PARTS runs of rows; the parts are joined in order. */
#include "op.h"

#include "launch.cuh"

static const unsigned COLUMNS = 128;

__global__ static void column_parts(size_t rows, size_t width, const float *x, double *parts)
{
    size_t column = (size_t)blockIdx.x * COLUMNS + threadIdx.x, part = blockIdx.y;
    if (column >= width) return;
    double sum = 0, square = 0, min = INFINITY, max = -INFINITY;
    for (size_t r = rows * part / OP_PARTS; r < rows * (part + 1) / OP_PARTS; r++) {
        double value = x[r * width + column];
        sum += value;
        square += value * value;
        min = value < min ? value : min;
        max = value > max ? value : max;
    }
    double *out = parts + part * 4 * width + column;
    out[0] = sum;
    out[width] = square;
    out[2 * width] = min;
    out[3 * width] = max;
}

__global__ static void join_parts(size_t width, const double *parts, double *out)
{
    size_t column = (size_t)blockIdx.x * COLUMNS + threadIdx.x;
    if (column >= width) return;
    double sum = 0, square = 0, min = INFINITY, max = -INFINITY;
    for (size_t part = 0; part < OP_PARTS; part++) {
        const double *own = parts + part * 4 * width + column;
        sum += own[0];
        square += own[width];
        min = own[2 * width] < min ? own[2 * width] : min;
        max = own[3 * width] > max ? own[3 * width] : max;
    }
    out[column] = sum;
    out[width + column] = square;
    out[2 * width + column] = min;
    out[3 * width + column] = max;
}

extern "C" cudaError_t op_column_stats(size_t rows, size_t width, const float *x, double *parts, double *out,
                                       cudaStream_t stream)
{
    if (width == 0) return cudaSuccess;
    unsigned across = (unsigned)blocks_of(width, COLUMNS);
    KVC_LAUNCH(column_parts, dim3(across, OP_PARTS), COLUMNS, 0, stream, rows, width, x, parts);
    KVC_LAUNCH(join_parts, across, COLUMNS, 0, stream, width, parts, out);
    return KVC_LAUNCHED();
}
