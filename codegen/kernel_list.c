/* kernel_list.c - see kernel_list.h. */
#include "kernel_list.h"
#include <stdio.h>
#include <stdlib.h>
#include "kernel_template.h"

char *kernel_list_text(const kernel_plan *plan, const kernel_image *images, const uint8_t identity[32])
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    if (!out) return NULL;
    fprintf(out, "kvc-kernels 1\ntemplate %s\nconfig ", kernel_template_hash);
    for (int i = 0; i < 32; i++) fprintf(out, "%02x", identity[i]);
    fputc('\n', out);
    for (uint32_t i = 0; i < plan->n_layers; i++)
        fprintf(out, "layer %u %s %s\n", i, images[plan->of_layer[i]].file, plan->kernels[plan->of_layer[i]].words);
    if (fclose(out) == 0) return text;
    free(text);
    return NULL;
}
