/* test_emulated_codes.cpp - test_gpu_codes.cu as C++ on the CPU. */
#include "emulate.h"
#include "test_gpu_codes.cu"
