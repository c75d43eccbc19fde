/* A training kept in its run file: the place is looked at before anything is trained, the file is
 * replaced whenever the run is worth keeping, its metrics stand beside it in between, and an end
 * that is a failure is written down. The program and the library's interface train alike.
 */
#include "engine/experiment.h"

#include "engine/base/clock.h"
#include "engine/base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const double least_seconds = 1;  /* from one writing of the metrics to the next */
static const double most_share = 0.005; /* of the time, that writing them may take */

/* A mistyped output must not cost a file of another kind. */
static enum colonnade_status check_replaceable(struct keeper *keeper, struct colonnade_error *error)
{
    struct run *old = NULL;
    struct colonnade_error reason = {0};
    const char *path = keeper->path;
    if (run_load(&old, path, &reason) == COLONNADE_OK) {
        keeper->other_status = old->status;
        keeper->other_epochs = old->progress.epoch;
        keeper->other_steps = old->progress.step;
        run_destroy(old);
        return COLONNADE_OK;
    }
    return error_set(error, COLONNADE_FAILURE,
                     "%s is there and is no run file that could be replaced: %.1024s", path,
                     reason.message);
}

enum colonnade_status keeper_open(struct keeper *keeper, const char *path, bool resume,
                                  struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    *keeper = (struct keeper){0};
    TRY(memory_copy_text(&keeper->path, path, error));
    TRY(destination_check(path, error));
    TRY(file_lock_take(&keeper->lock, path, error));
    if (!file_exists(path))
        goto out;
    keeper->own = resume;
    if (!resume)
        TRY(check_replaceable(keeper, error));
out:
    return status;
}

void keeper_close(struct keeper *keeper)
{
    if (keeper->begun)
        live_remove(keeper->path);
    file_lock_release(&keeper->lock);
    free(keeper->path);
    *keeper = (struct keeper){0};
}

static enum colonnade_status begin(void *context, const struct run *run, size_t batches_an_epoch,
                                   struct colonnade_error *error)
{
    struct keeper *keeper = context;
    keeper->begun = true;
    keeper->epoch = run->progress.epoch;
    keeper->step = run->progress.step;
    live_remove(keeper->path); /* of a run that was killed */
    keeper->next_live = seconds_now() + least_seconds;
    return COLONNADE_OK;
}

static enum colonnade_status step(void *context, const struct run *run,
                                  const struct step_record *record, struct colonnade_error *error)
{
    struct keeper *keeper = context;
    const double start = seconds_now();
    if (start < keeper->next_live)
        return COLONNADE_OK;
    /* Whoever cannot watch can still train: the run file's own saves tell what is wrong. */
    live_save(run, keeper->path, NULL);
    const double took = seconds_now() - start;
    keeper->next_live = start + fmax(least_seconds, took / most_share);
    return COLONNADE_OK;
}

static void tell(const struct keeper *keeper, const char *message)
{
    if (keeper->tell)
        keeper->tell(keeper->context, message);
}

/* A training that was a mistake, and soon ended, must not cost the run that it replaces: that gets
 * a second name, or NULL where this need not, or cannot, be. The caller frees it. */
static char *keep_other(const struct keeper *keeper, const struct run *run)
{
    struct colonnade_error reason = {0};
    char *name = NULL;
    if (run->status == RUN_TRAINING || run->status == RUN_COMPLETE || keeper->own ||
        keeper->other_epochs == 0 || keeper->other_steps <= run->progress.step)
        return NULL;
    if (file_keep_aside(&name, keeper->path, &reason) == COLONNADE_OK)
        return name;
    tell(keeper, reason.message);
    free(name);
    return NULL;
}

static void tell_other(const struct keeper *keeper, const char *name)
{
    struct colonnade_error message;
    error_set(&message, COLONNADE_OK, "%s: the run of %d epoch%s that was there is now %.1024s",
              keeper->path, keeper->other_epochs, plural((uint64_t)keeper->other_epochs), name);
    tell(keeper, message.message);
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat one, other;
    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_ino == other.st_ino &&
           one.st_dev == other.st_dev;
}

static enum colonnade_status save(struct keeper *keeper, const struct run *run,
                                  struct colonnade_error *error)
{
    const double start = seconds_now();
    char *other = keep_other(keeper, run);
    enum colonnade_status status = run_save(run, keeper->path, error);
    keeper->seconds += seconds_now() - start;
    if (status == COLONNADE_OK) {
        keeper->own = true;
        keeper->epoch = run->progress.epoch;
        keeper->step = run->progress.step;
    }
    /* A save that failed may have replaced it all the same. */
    if (other && is_same_file(other, keeper->path))
        unlink(other);
    else if (other && !file_exists(keeper->path))
        rename(other, keeper->lock.target);
    else if (other)
        tell_other(keeper, other);
    free(other);
    return status;
}

static enum colonnade_status checkpoint(void *context, const struct run *run,
                                        struct colonnade_error *error)
{
    struct keeper *keeper = context;
    struct colonnade_error message = {0};
    enum colonnade_status status = save(keeper, run, error);
    if (status == COLONNADE_OK || run->status != RUN_TRAINING || !keeper->tell)
        return status;
    error_set(&message, status, "%.1024s; training goes on, and saves again at the next checkpoint",
              error->message);
    tell(keeper, message.message);
    *error = (struct colonnade_error){0};
    return COLONNADE_OK;
}

/* A file that is another run's is no place to write down that this one failed, before a step. */
static void fail(void *context, const struct run *run, bool sound, const char *reason)
{
    struct keeper *keeper = context;
    struct colonnade_error error = {0}, message = {0};
    enum colonnade_status status = COLONNADE_OK;
    if (sound && (keeper->own || run->progress.step > 0))
        status = save(keeper, run, &error);
    else if (keeper->own)
        status = run_mark_failed(keeper->path, reason, &error);
    if (status == COLONNADE_OK)
        return;
    error_set(&message, status, "the failure cannot be written into the run file: %.1024s",
              error.message);
    tell(keeper, message.message);
}

struct sink keeper_sink(struct keeper *keeper)
{
    return (struct sink){
        .context = keeper, .begin = begin, .step = step, .checkpoint = checkpoint, .fail = fail};
}
