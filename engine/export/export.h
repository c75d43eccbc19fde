/* A run's network for other programs: one file a format, one row of a table. Weights are those
 * that evaluation scores; outputs are logits, as the run's own are.
 *
 * Names of nodes and weights are the run's. A node that a format cannot say is an error that names
 * the node, its type and the reason, before anything is written.
 */
#ifndef ENGINE_EXPORT_EXPORT_H
#define ENGINE_EXPORT_EXPORT_H

#include "engine/train/run.h"

struct network;

/* A file in memory, allocated by malloc() or NULL. */
struct export_file {
    void *bytes;
    size_t count;
};

struct export_format {
    const char *name, *help;
    /* What the file's name has to end with, and what it may not, with the reason; NULL: anything.
     */
    const char *suffix, *wrong_suffix, *why_wrong;
    /* A second file, beside the first: what its name ends with in place of `suffix`, and what it
     * begins with; NULL: none. */
    const char *beside, *beside_start;
    /* Whether a file that exists is an earlier export, which a new one may replace. */
    bool (*recognizes)(const char *path);
    /* Makes both files; `path` is where the first will be. The caller frees, also on error. */
    enum colonnade_status (*make)(const struct network *network, const char *path,
                                  struct export_file *file, struct export_file *beside,
                                  struct colonnade_error *error);
};

extern const struct export_format export_formats[]; /* ends with name = NULL */

/* COLONNADE_USAGE where there is no such format, naming the nearest. */
enum colonnade_status export_format_find(const struct export_format **format, const char *name,
                                         struct colonnade_error *error);

/* The name of the second file; NULL where there is none. The caller frees. Raises where `path` is
 * no name for the format's first file. */
enum colonnade_status export_beside(const struct export_format *format, const char *path,
                                    char **beside, struct colonnade_error *error);

/* Writes `path`, and the second file where there is one: each whole or not at all. A file that
 * exists and is neither empty nor an earlier export is not replaced. */
enum colonnade_status export_write(const struct run *run, const struct export_format *format,
                                   const char *path, struct colonnade_error *error);

#endif
