/* colonnade report: a run file, or a sweep's, as a page. */
#include "engine/cli/cli.h"

#include "engine/base/memory.h"
#include "engine/report/report.h"
#include "engine/store/store.h"
#include "engine/sweep/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

enum colonnade_status verb_report(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char *path = options->operands[0];
    struct run *run = NULL;
    struct sweep *sweep = NULL;
    char *made = NULL;
    TRY(sweep_file_is(path) ? sweep_load(&sweep, path, error) : run_load(&run, path, error));
    if (run)
        TRY(run_load_profile(run, path, error));
    if (!options->out)
        TRY(page_path(&made, path, error));
    const char *page = options->out ? options->out : made;
    TRY(destination_check(page, error));
    TRY(check_replaced(page, error));
    TRY(sweep ? report_sweep_write(sweep, page, error) : report_write(run, page, error));
    printf("%s\n", page);
out:
    free(made);
    sweep_destroy(sweep);
    run_destroy(run);
    return status;
}
