/* The run file as a sink: whenever a run is worth keeping, its file is replaced. */
#include "engine/cli/cli.h"

#include "engine/store/store.h"

#include <stdio.h>

static enum colonnade_status save(void *context, const struct run *run,
                                  struct colonnade_error *error)
{
    struct checkpoint *checkpoint = context;
    const double start = seconds_now();
    enum colonnade_status status = run_save(run, checkpoint->path, error);
    checkpoint->seconds += seconds_now() - start;
    if (status == COLONNADE_OK) {
        checkpoint->saved = true;
        checkpoint->epoch = run->progress.epoch;
    } else if (run->status == RUN_TRAINING) {
        progress_clear(checkpoint->display);
        fprintf(stderr, "%s; training goes on, and saves again at the next checkpoint\n",
                error->message);
        *error = (struct colonnade_error){0};
        status = COLONNADE_OK;
    }
    return status;
}

struct sink checkpoint_sink(struct checkpoint *checkpoint)
{
    return (struct sink){.context = checkpoint, .checkpoint = save};
}
