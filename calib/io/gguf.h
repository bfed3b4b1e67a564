/* gguf.h - import of a GGUF model (v2, v3; F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K; llama architecture)
 * as a folder that kvcalib and Hugging Face libraries read: model.safetensors, config.json, tokenizer.json,
 * tokenizer_config.json, generation_config.json. The q/k row permutation of llama GGUF files is undone. */
#ifndef CALIB_IO_GGUF_H
#define CALIB_IO_GGUF_H
#include "job.h"
#include "kvc/kvc.h"

kvc_status gguf_import(const char *path, const char *folder, kvc_dtype dtype, const job *job, kvc_error *err);
/* Parse and validate all metadata and tensor descriptors from memory (fuzz target); no data is converted. */
kvc_status gguf_check_memory(const void *bytes, size_t n, kvc_error *err);
#endif
