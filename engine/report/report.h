/* A run, a sweep, or several runs, as one self-contained HTML page: no file beside it, no network
 * when it is opened. */
#ifndef ENGINE_REPORT_REPORT_H
#define ENGINE_REPORT_REPORT_H

#include "engine/sweep/sweep.h"
#include "engine/train/run.h"

/* The page's text, `*count` bytes and a 0 after them; the caller frees it with free(). */
enum colonnade_status report_html(const struct run *run, char **html, size_t *count,
                                  struct colonnade_error *error);
enum colonnade_status report_sweep_html(const struct sweep *sweep, char **html, size_t *count,
                                        struct colonnade_error *error);

/* Replaces `path` with the page; on error what was there before is untouched. */
enum colonnade_status report_write(const struct run *run, const char *path,
                                   struct colonnade_error *error);
enum colonnade_status report_sweep_write(const struct sweep *sweep, const char *path,
                                         struct colonnade_error *error);
/* A page that compares `count` runs, which are called after the files that they are of. */
enum colonnade_status report_compare_write(struct run *const *runs, const char *const *paths,
                                           size_t count, const char *path,
                                           struct colonnade_error *error);

#endif
