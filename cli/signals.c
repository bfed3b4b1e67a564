/* signals.c - see signals.h. SIGPIPE and SIGXFSZ are ignored: the write that fails reports them. */
#include "signals.h"
#include "output.h"
#include <signal.h>
#include <string.h>

static volatile sig_atomic_t asked;

static void on_signal(int number)
{
    if (!asked) {
        asked = 1;
        return;
    }
    output_discard_all();
    signal(number, SIG_DFL);
    raise(number);
}

void signals_install(void)
{
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&act.sa_mask);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    struct sigaction hup;
    if (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler != SIG_IGN) sigaction(SIGHUP, &act, NULL); /* nohup */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* ignored by a parent, children would end unseen */
}

bool signals_cancelled(void *unused)
{
    (void)unused;
    return asked;
}
