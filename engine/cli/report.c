/* colonnade report: a run file, several, or a sweep's, as a page. */
#include "engine/cli/cli.h"

#include "engine/base/memory.h"
#include "engine/report/report.h"
#include "engine/store/store.h"
#include "engine/sweep/sweep.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

/* RUN.h5 -> RUN.html, or .html after any other name. */
static enum colonnade_status page_path(char **page, const char *path, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    size_t length = strlen(path);
    TRY(memory_allocate(page, length + sizeof ".html", 1, "a path", error));
    if (length > 3 && strcmp(path + length - 3, ".h5") == 0)
        length -= 3;
    sprintf(*page, "%.*s.html", (int)length, path);
out:
    return status;
}

/* A page may take the place of a page, or of an empty file: of nothing else, above all not of the
 * run that it reports. */
static enum colonnade_status check_replaced(const char *page, struct colonnade_error *error)
{
    static const char start[] = "<!doctype html>";
    char found[sizeof start] = "";
    FILE *file = fopen(page, "rb");
    if (!file)
        return COLONNADE_OK;
    size_t bytes = fread(found, 1, sizeof start - 1, file);
    fclose(file);
    if (bytes == 0 || strncasecmp(found, start, sizeof start - 1) == 0)
        return COLONNADE_OK;
    return error_set(error, COLONNADE_FAILURE,
                     "%s exists and is not a report: it is not replaced by one", page);
}

/* The page of several runs: beside the first. */
static enum colonnade_status compared_path(char **page, const char *path,
                                           struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char *slash = strrchr(path, '/');
    const int folder = slash ? (int)(slash - path) + 1 : 0;
    TRY(memory_allocate(page, (size_t)folder + sizeof "compared.html", 1, "a path", error));
    sprintf(*page, "%.*scompared.html", folder, path);
out:
    return status;
}

/* What xdg-open says goes to standard error: standard output is the page's name alone. */
static enum colonnade_status open_page(const char *page, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *const arguments[] = {(char *)"xdg-open", (char *)page, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int ended = 0;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    const int failure = posix_spawnp(&child, arguments[0], &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failure == ENOENT)
        RAISE(COLONNADE_FAILURE,
              "there is no xdg-open here to open a page with (Debian: xdg-utils): open %s in a "
              "browser",
              page);
    if (failure)
        RAISE(COLONNADE_FAILURE, "xdg-open could not be started: %s; open %s in a browser",
              strerror(failure), page);
    while (waitpid(child, &ended, 0) < 0)
        if (errno != EINTR)
            RAISE(COLONNADE_FAILURE, "xdg-open was lost: %s", strerror(errno));
    if (ended != 0)
        RAISE(COLONNADE_FAILURE, "xdg-open found nothing to show %s with: open it in a browser",
              page);
out:
    return status;
}

static enum colonnade_status report_run_file(const char *path, const char *page,
                                             struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *run = NULL;
    TRY(run_load(&run, path, error));
    TRY(run_load_profile(run, path, error));
    TRY(report_write(run, page, error));
out:
    run_destroy(run);
    return status;
}

static enum colonnade_status report_sweep_file(const char *path, const char *page,
                                               struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct sweep *sweep = NULL;
    TRY(sweep_load(&sweep, path, error));
    TRY(report_sweep_write(sweep, page, error));
out:
    sweep_destroy(sweep);
    return status;
}

static enum colonnade_status compare_run_files(const char *const *paths, size_t count,
                                               const char *page, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run **runs = NULL;
    TRY(memory_allocate(&runs, count, sizeof *runs, "runs", error));
    for (size_t i = 0; i < count; i++) {
        if (sweep_file_is(paths[i]))
            RAISE(COLONNADE_USAGE,
                  "%s is a sweep: it has a report of its own, and only runs are "
                  "compared",
                  paths[i]);
        TRY(run_load(&runs[i], paths[i], error));
    }
    TRY(report_compare_write(runs, paths, count, page, error));
out:
    for (size_t i = 0; runs && i < count; i++)
        run_destroy(runs[i]);
    free(runs);
    return status;
}

enum colonnade_status verb_report(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char *const *paths = options->operands;
    const size_t count = options->operand_count;
    char *made = NULL;
    if (!options->out)
        TRY(count > 1 ? compared_path(&made, paths[0], error) : page_path(&made, paths[0], error));
    const char *page = options->out ? options->out : made;
    TRY(destination_check(page, error));
    TRY(check_replaced(page, error));
    if (count > 1)
        TRY(compare_run_files(paths, count, page, error));
    else
        TRY(sweep_file_is(paths[0]) ? report_sweep_file(paths[0], page, error)
                                    : report_run_file(paths[0], page, error));
    printf("%s\n", page);
    TRY(output_flush(error));
    if (options->open)
        TRY(open_page(page, error));
out:
    free(made);
    return status;
}
