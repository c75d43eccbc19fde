/* The run file: a run in HDF5, as docs/run-file.md has it. Files appear whole: written beside their
 * place, flushed to disk, renamed. HDF5 is called from one thread.
 */
#ifndef ENGINE_STORE_STORE_H
#define ENGINE_STORE_STORE_H

#include "engine/data/dataset.h"
#include "engine/train/run.h"

/* Replaces `path` with the run as it stands; folders on the way are made. On error what was there
 * before is untouched and nothing else is left behind. Takes twice the file's size in memory. */
enum colonnade_status run_save(const struct run *run, const char *path,
                               struct colonnade_error *error);

/* The run in that file did not get further, for `reason`: its status becomes failed, all else stays
 * as it is. */
enum colonnade_status run_mark_failed(const char *path, const char *reason,
                                      struct colonnade_error *error);

/* What run_save() takes for a moment, in bytes. */
size_t run_save_bytes(const struct graph *graph, const struct settings *settings);

/* A run out of its file, complete enough to resume, evaluate and predict; run_destroy() frees it. A
 * file that is absent, foreign, damaged, incomplete or of an unknown version is a COLONNADE_FAILURE
 * that names the part and what is wrong with it. */
enum colonnade_status run_load(struct run **run, const char *path, struct colonnade_error *error);

/* Gives a run of that file the profile that the file holds, to be looked at; NULL where there is
 * none. A run that goes on counts anew, so that run_load() leaves it out. */
enum colonnade_status run_load_profile(struct run *run, const char *path,
                                       struct colonnade_error *error);

bool file_exists(const char *path);
bool file_is_hdf5(const char *path);

/* `path` without symbolic links, ".", or a folder's two names, as far as it exists; so that equal
 * places are equal texts. The caller frees it. */
enum colonnade_status destination_resolve(char **resolved, const char *path,
                                          struct colonnade_error *error);

/* Raises where a file cannot be put at `path`: long before there is one to put there. What killed
 * programs left of theirs is taken away. */
enum colonnade_status destination_check(const char *path, struct colonnade_error *error);

/* What became of the arrays of a file and of a graph: lists "a, b, c", the first few of
 * many, then ", and 7 more"; NULL where empty. */
struct weights_taken {
    size_t count;
    char *taken;  /* names that both have */
    char *drawn;  /* that the graph alone has: they stay as they were drawn */
    char *unused; /* that the file alone has */
};

/* Gives `model` every array of /state_dict in an HDF5 file whose name is one of the graph's; with
 * NULL it is only looked whether it could. Floats of any width are converted. `config` is what
 * [train] init_from stands in: a shape that does not fit, and no name in common, are a
 * COLONNADE_USAGE at its line; a file that cannot be read, or a value that is not finite, is a
 * COLONNADE_FAILURE. The caller finishes `taken`, also on error. */
enum colonnade_status weights_take(const struct graph *graph, struct model *model,
                                   struct config *config, const char *path,
                                   struct weights_taken *taken, struct colonnade_error *error);
void weights_taken_finish(struct weights_taken *taken);

/* Replaces `path` with `bytes`, in the same way of whole files: a failure of any kind leaves what
 * was there before, no temporary file and no new folder. A symbolic link stays one, and a file that
 * exists keeps its permissions. What exists and is no regular file is not replaced. */
enum colonnade_status file_replace(const char *path, const void *bytes, size_t count,
                                   struct colonnade_error *error);

/* The same, but for what a crash of the machine may undo: nothing waits for the disk. */
enum colonnade_status file_replace_lightly(const char *path, const void *bytes, size_t count,
                                           struct colonnade_error *error);

/* Where `path` leads, behind symbolic links, also behind those to a file that is not there yet. The
 * caller frees it, also on error. */
enum colonnade_status file_target(char **target, const char *path, struct colonnade_error *error);

/* Gives the file that `path` leads to a second name beside it, PATH.replaced, or with a number
 * where there is such a file: so it is not lost when `path` is replaced. Where a file can have no
 * second name, this becomes its only one. The caller frees the name. */
enum colonnade_status file_keep_aside(char **name, const char *path, struct colonnade_error *error);

/* Takes away what programs that were killed while they replaced `path` have left beside it. What a
 * running one writes stays: its file is locked, on this machine and, where a file system is shared,
 * on others. */
void file_remove_leftovers(const char *path);

/* That `path` is somebody's for longer than it is written: a locked file, .NAME.lock, beside it.
 * The lock ends with its process, however that ends; a file that a killed one left is nobody's. */
struct file_lock {
    char *name, *target; /* the locked file; what `path` leads to */
    int descriptor;
    size_t folders; /* that were made for it */
};

/* COLONNADE_FAILURE where somebody else has it, here or in another process. Folders on the way are
 * made. Where a file cannot be locked at all, nobody is kept out. The caller releases the lock,
 * also on error. */
enum colonnade_status file_lock_take(struct file_lock *lock, const char *path,
                                     struct colonnade_error *error);
/* Takes the file away, and folders that were made and are empty. */
void file_lock_release(struct file_lock *lock);

enum file_locked { FILE_LOCKED_NO, FILE_LOCKED_YES, FILE_LOCKED_UNKNOWN };
enum file_locked file_is_locked(const char *path);

/* Writes a run's metrics into PATH.live, beside its file; and takes that away. */
enum colonnade_status live_save(const struct run *run, const char *path,
                                struct colonnade_error *error);
void live_remove(const char *path);

/* How far a run is. */
struct watched {
    bool under_way; /* somebody trains it */
    enum run_status status;
    struct metrics metrics;
};

/* Out of PATH.live where there is one, else out of the run file; the caller finishes it, also on
 * error. Who trains a run has locked `path`: one of status training that is not under way ended
 * without a word. */
enum colonnade_status watched_load(struct watched *watched, const char *path,
                                   struct colonnade_error *error);
void watched_finish(struct watched *watched);

/* The same for what is too large to be held as bytes: `write` fills the open file `descriptor`,
 * whose name for now is `temporary`; `path` is how its messages name it. */
struct file_content {
    enum colonnade_status (*write)(const void *context, const char *path, const char *temporary,
                                   int descriptor, struct colonnade_error *error);
    const void *context;
};
enum colonnade_status file_replace_with(const char *path, const struct file_content *content,
                                        struct colonnade_error *error);

/* Replaces `path`, likewise, with an HDF5 file of the data: what source = hdf5 reads. It holds a
 * few images at a time, besides the data. A file that is there and no such file is an error. */
enum colonnade_status data_pack(const struct dataset *data, const char *path,
                                struct colonnade_error *error);

#endif
