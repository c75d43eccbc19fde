/* The run file as a sink: whenever a run is worth keeping, its file is replaced. */
#include "engine/cli/cli.h"

#include "engine/store/store.h"

static enum colonnade_status save(void *context, const struct run *run,
                                  struct colonnade_error *error)
{
    struct checkpoint *checkpoint = context;
    enum colonnade_status status = run_save(run, checkpoint->path, error);
    if (status == COLONNADE_OK) {
        checkpoint->saved = true;
        checkpoint->epoch = run->progress.epoch;
    }
    return status;
}

struct sink checkpoint_sink(struct checkpoint *checkpoint)
{
    return (struct sink){.context = checkpoint, .checkpoint = save};
}
