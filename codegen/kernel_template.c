/* kernel_template.c - see kernel_template.h; the files and their list come from template.cmake. */
#include "kernel_template.h"

#define TEMPLATE(symbol, path, n) extern const unsigned char symbol[];
#include "template_list.h"
#undef TEMPLATE

const kernel_template_file *kernel_template_get(size_t i)
{
#define TEMPLATE(symbol, path, n) {path, (const char *)symbol, n},
    static const kernel_template_file files[] = {
#include "template_list.h"
    };
    return i < sizeof files / sizeof *files ? &files[i] : NULL;
}

const char kernel_template_hash[] = KERNEL_TEMPLATE_HASH;
