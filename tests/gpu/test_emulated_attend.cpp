/* test_emulated_attend.cpp - test_gpu_attend.cu as C++ on the CPU. */
#include "emulate.h"
#include "test_gpu_attend.cu"
