/* signals.h - SIGINT and SIGTERM ask for a tidy end once; the second one kills, leaving no temporary output behind.
 */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H
#include <stdbool.h>
void signals_install(void);
bool signals_cancelled(void *unused); /* as job.cancelled */
#endif
