/* cmd_import.c - kvcalib import model.gguf -o DIR */
#include "command.h"
#include "console.h"
#include "gguf.h"
#include <string.h>

static kvc_dtype dtype_of(const char *word)
{
    return strcmp(word, "f32") == 0 ? KVC_F32 : strcmp(word, "bf16") == 0 ? KVC_BF16 : KVC_F16;
}

kvc_status command_import(settings *s, kvc_error *err)
{
    KVC_TRY(gguf_import(s->operands[0], s->output, dtype_of(s->dtype), console_job(), err));
    console_note("%s: model.safetensors (%s), config.json, tokenizer.json", s->output, s->dtype);
    return KVC_OK;
}
