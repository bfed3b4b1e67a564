#include "help.h"

void help_general(FILE *out)
{
    fputs("kvcalib compiles the KV cache of a language model.\n\n"
          "  kvcalib MODEL -o cfg.bin       the main job (the same as: kvcalib run MODEL -o cfg.bin)\n"
          "  kvcalib COMMAND --help         the options of a command\n"
          "  kvcalib --version\n\n"
          "MODEL is a model.safetensors, a model.safetensors.index.json, or the folder that holds either;\n"
          "config.json and tokenizer.json are looked for beside it.\n\nCommands:\n",
          out);
    for (size_t i = 0; i < n_commands; i++)
        fprintf(out, "  %-9s %s\n", command_table[i].name, command_table[i].summary);
    fputs("\nExit codes: 0 success; 1 differs, does not match; 2 usage; 3 bad input; 4 infeasible request;\n"
          "5 out of memory or disk, output not writable; 6 interrupted, resumable; 7 a form that would lose "
          "something.\n",
          out);
}

static void put_option(FILE *out, const option_row *row)
{
    char left[64];
    char letter[5] = "    ";
    if (row->letter) snprintf(letter, sizeof letter, "-%c, ", row->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, row->name, row->argument ? " " : "",
             row->argument ? row->argument : "");
    fprintf(out, "  %-35s %s%s%s%s\n", left, row->help, row->fallback ? " [" : "", row->fallback ? row->fallback : "",
            row->fallback ? "]" : "");
}

void help_command(FILE *out, const command *c)
{
    fprintf(out, "kvcalib %s %s [OPTION]...\n%s.\n\n", c->name, c->operands, c->summary);
    for (size_t i = 0; i < n_options; i++)
        if (option_applies(&option_table[i], c)) put_option(out, &option_table[i]);
    fputs("\nAll of them and more: docs/commands.md\n", out);
}
