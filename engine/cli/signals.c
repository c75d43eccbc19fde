/* SIGINT and SIGTERM: at once an exit with their status, or, while a run is being trained, a
 * wish that training reads between steps. The second one exits in any case.
 */
#include "engine/cli/cli.h"

#include <unistd.h>

static volatile sig_atomic_t pending, deferred;
static const char *volatile left;

static void take_signal(int number)
{
    if (!deferred || pending) {
        if (left)
            unlink(left);
        _exit(number == SIGINT ? COLONNADE_INTERRUPTED : COLONNADE_TERMINATED);
    }
    pending = number;
}

void signals_install(void)
{
    struct sigaction action = {.sa_handler = take_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of writing, with its status; */
    signal(SIGXFSZ, SIG_IGN); /* so is a file that may grow no more */
}

void signals_defer(bool defer)
{
    deferred = defer;
}

void signals_take_away(const struct file_lock *lock)
{
    left = lock && lock->descriptor >= 0 ? lock->name : NULL;
}

const volatile sig_atomic_t *signals_pending(void)
{
    return &pending;
}
