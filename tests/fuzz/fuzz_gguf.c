/* fuzz_gguf.c - any bytes as a GGUF file: parsed and translated, or refused with a message; nothing else. */
#include <stdint.h>
#include <stdlib.h>
#include "gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kvc_error err = {0};
    if (gguf_check_memory(data, size, &err) != KVC_OK && !err.message[0]) abort();
    return 0;
}
