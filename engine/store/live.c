/* The metrics of a run under way, in a small file of their own beside the run file, RUN.live. It
 * appears whole, by renaming, as the run file does: a reader that opens it finds a sound file,
 * locks nobody out and needs no mode of HDF5 of its own; a program killed while it writes leaves
 * the one before. It is not flushed to disk, for nothing is lost with it: the run file has the same
 * metrics at each checkpoint.
 */
#include "engine/store/parts.h"
#include "engine/store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIVE_FORMAT "colonnade-metrics"

/* The caller frees it. */
static enum colonnade_status live_path(char **path, const char *run, struct colonnade_error *error)
{
    if (asprintf(path, "%s.live", run) >= 0)
        return COLONNADE_OK;
    *path = NULL;
    return error_set(error, COLONNADE_FAILURE, "no memory for a file's name");
}

static enum colonnade_status write_live(struct place file, const void *content,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct run *run = content;
    TRY(store_write_root(file, LIVE_FORMAT, run->config, run->settings.seed, run->status, error));
    TRY(write_metrics(file, &run->metrics, error));
out:
    return status;
}

enum colonnade_status live_save(const struct run *run, const char *path,
                                struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    unsigned char *bytes = NULL;
    size_t count = 0;
    char *live = NULL;
    TRY(live_path(&live, path, error));
    TRY(store_make(live, write_live, run, &bytes, &count, error));
    TRY(file_replace_lightly(live, bytes, count, error));
out:
    free(bytes);
    free(live);
    return status;
}

void live_remove(const char *path)
{
    char *live;
    if (live_path(&live, path, NULL) != COLONNADE_OK)
        return;
    unlink(live);
    file_remove_leftovers(live);
    free(live);
}

static enum colonnade_status read_watched(struct place file, const char *format, const char *kind,
                                          struct watched *watched, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(store_open(&file, kind, error));
    TRY(store_check_format(file, format, kind, error));
    TRY(store_read_status(file, &watched->status, error));
    TRY(read_metrics(file, &watched->metrics, error));
out:
    place_close(file.id);
    return status;
}

/* The newest metrics. Where a file system has no locks, that they stand in PATH.live has to tell
 * that the run is under way. */
static enum colonnade_status read_newest(struct watched *watched, const char *path,
                                         const char *live, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    bool is_live = access(live, F_OK) == 0;
    if (is_live && read_watched((struct place){live, H5I_INVALID_HID}, LIVE_FORMAT,
                                "file of metrics", watched, NULL) != COLONNADE_OK) {
        watched_finish(watched); /* gone in this very moment */
        is_live = false;
    }
    if (!is_live)
        TRY(read_watched((struct place){path, H5I_INVALID_HID}, FORMAT_NAME, "run file", watched,
                         error));
    const enum file_locked locked = file_is_locked(path);
    watched->under_way = watched->status == RUN_TRAINING &&
                         (locked == FILE_LOCKED_YES || (locked == FILE_LOCKED_UNKNOWN && is_live));
out:
    return status;
}

enum colonnade_status watched_load(struct watched *watched, const char *path,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct hdf5_quiet quiet;
    char *live = NULL;
    *watched = (struct watched){0};
    hdf5_quiet_begin(&quiet);
    TRY(live_path(&live, path, error));
    TRY(read_newest(watched, path, live, error));
    if (watched->status == RUN_TRAINING && !watched->under_way) {
        /* It may have ended between the reading and the look at its lock. */
        watched_finish(watched);
        TRY(read_newest(watched, path, live, error));
    }
out:
    hdf5_quiet_end(&quiet);
    free(live);
    return status;
}

void watched_finish(struct watched *watched)
{
    free(watched->metrics.epochs);
    free(watched->metrics.steps);
    memset(watched, 0, sizeof *watched);
}
