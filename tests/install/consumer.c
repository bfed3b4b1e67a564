/* A user of the installed library: opens a cfg.bin and prints what it holds. */
#include <kvc/codec.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    kvc_config *cfg;
    kvc_error err;
    if (argc != 2 || kvc_config_open(&cfg, argv[1], &err) != KVC_OK) return argc == 2 ? puts(err.message), 1 : 2;
    printf("libkvc %s: %s, %.2f bits\n", kvc_version(), kvc_config_model(cfg)->name,
           kvc_config_bits_per_value(cfg, 8192));
    kvc_config_close(cfg);
    return 0;
}
