/* kernel_folder.h - the folder of --kernels: sources, images and manifest.json of what a configuration needs. */
#ifndef CLI_KERNEL_FOLDER_H
#define CLI_KERNEL_FOLDER_H
#include "settings.h"

/* Before long work: may the model have kernels, and can the folder be written? Nothing without --kernels. */
kvc_status kernel_folder_check(const settings *s, const kvc_model_info *model, kvc_error *err);
/* What the configuration needs, for --arch; nothing without --kernels. Images that are up to date stay as they are,
 * those that only the last manifest names are removed. Without a compiler there are sources, a note, and no
 * manifest. `name` is for messages. */
kvc_status kernel_folder_write(const settings *s, const kvc_config *config, const char *name, kvc_error *err);
#endif
