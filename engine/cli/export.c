/* colonnade export: a run's network for other programs. */
#include "engine/cli/cli.h"

#include "engine/export/export.h"
#include "engine/store/store.h"

#include <stdio.h>
#include <stdlib.h>

enum colonnade_status verb_export(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct export_format *format = NULL;
    struct run *run = NULL;
    char *beside = NULL;
    if (!options->format || !options->out)
        RAISE(COLONNADE_USAGE, "colonnade export: %s is missing",
              options->format ? "-o FILE" : "--format FORMAT");
    TRY(export_format_find(&format, options->format, error));
    TRY(export_beside(format, options->out, &beside, error));
    TRY(destination_check(options->out, error));
    if (beside)
        TRY(destination_check(beside, error));
    TRY(run_load(&run, options->operands[0], error));
    TRY(export_write(run, format, options->out, error));
    if (run->golden.n == 0)
        fprintf(stderr,
                "%s holds no sample outputs (its status is %s): the export has none to check "
                "itself by\n",
                options->operands[0], run_status_names[run->status]);
    printf("%s\n", options->out);
    if (beside)
        printf("%s\n", beside);
out:
    free(beside);
    run_destroy(run);
    return status;
}
