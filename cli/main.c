/* main.c - kvcalib: parse, run one command, print its error, exit. */
#include "build_id.h"
#include "console.h"
#include "exit.h"
#include "help.h"
#include "recipe.h"
#include "signals.h"
#include <malloc.h>
#include <string.h>

/* Blocks from this size on are mapped and go back to the system when freed: passes over different amounts of text
 * follow each other, and the heap would otherwise keep the holes between their buffers. */
#define LARGE_BLOCK (1 << 20)

static kvc_status run(settings *s, bool named, kvc_error *err)
{
    if (s->version) {
        printf("kvcalib %s\n", build_version());
    } else if (s->help) {
        if (named)
            help_command(stdout, s->command);
        else
            help_general(stdout);
    } else if (s->print_config) {
        recipe_print(s, stdout);
    } else {
        return s->command->run(s, err);
    }
    return KVC_OK;
}

int main(int argc, char **argv)
{
    settings s;
    kvc_error err = {0}, late = {0};
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
    signals_install();
    if (argc < 2) {
        help_general(stderr);
        return EXIT_USAGE;
    }
    kvc_status status = settings_parse(&s, argc - 1, argv + 1, &err);
    if (status == KVC_OK) status = console_open(&s, &err);
    if (status == KVC_OK) status = run(&s, strcmp(argv[1], s.command->name) == 0, &err);
    kvc_status written = console_flush(&late);
    if (status == KVC_OK && written != KVC_OK) status = written, err = late;
    if (status != KVC_OK && *err.message) console_error(err.message);
    console_close();
    settings_free(&s);
    return status == KVC_OK && s.differs ? EXIT_DIFFERS : exit_code(status);
}
