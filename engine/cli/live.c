/* The metrics of a run under way as a sink: a file beside the run file, written anew every second
 * or so, less often where writing it takes long, and gone at the end.
 */
#include "engine/cli/cli.h"

#include "engine/store/store.h"

#include <math.h>

static const double least_seconds = 1;
static const double most_share = 0.005; /* of the time, that writing may take */

static enum colonnade_status step(void *context, const struct run *run,
                                  const struct step_record *record, struct colonnade_error *error)
{
    struct live *live = context;
    const double start = seconds_now();
    if (start < live->next)
        return COLONNADE_OK;
    /* Whoever cannot watch can still train: the run file's own saves tell what is wrong. */
    live_save(run, live->path, NULL);
    const double took = seconds_now() - start;
    live->next = start + fmax(least_seconds, took / most_share);
    return COLONNADE_OK;
}

static enum colonnade_status begin(void *context, const struct run *run, size_t batches_an_epoch,
                                   struct colonnade_error *error)
{
    struct live *live = context;
    live_remove(live->path); /* of a run that was killed */
    live->next = seconds_now() + least_seconds;
    return COLONNADE_OK;
}

struct sink live_sink(struct live *live)
{
    return (struct sink){.context = live, .begin = begin, .step = step};
}
