/* The run file: a run in HDF5, as interface 3 has it. Files appear whole: written beside their
 * place, flushed, synced, renamed. HDF5 is called from one thread.
 */
#ifndef ENGINE_STORE_STORE_H
#define ENGINE_STORE_STORE_H

#include "engine/train/run.h"

/* Replaces `path` with the run as it stands; folders on the way are made. On error what was there
 * before is untouched and nothing else is left behind. */
enum colonnade_status run_save(const struct run *run, const char *path,
                               struct colonnade_error *error);

/* A run out of its file, complete enough to resume, evaluate and predict. A foreign or damaged
 * file, or an unknown version, is an error that says so. */
enum colonnade_status run_load(struct run **run, const char *path, struct colonnade_error *error);

/* Writes `bytes` to `path` by the same way of whole files. */
enum colonnade_status file_replace(const char *path, const void *bytes, size_t count,
                                   struct colonnade_error *error);

#endif
