/* report_pages FOLDER: writes the page of every made-up run to FOLDER/NAME.html. */
#include "engine/report/report.h"
#include "tests/report/made.h"

#include <stdio.h>

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", arguments[0]);
        return 2;
    }
    for (const struct made *made = made_runs; made->name; made++) {
        struct colonnade_error error;
        char path[4096];
        struct run *run = made_create(made);
        snprintf(path, sizeof path, "%s/%s.html", arguments[1], made->name);
        enum colonnade_status status = report_write(run, path, &error);
        made_destroy(run);
        if (status != COLONNADE_OK) {
            fprintf(stderr, "%s\n", error.message);
            return 1;
        }
    }
    return 0;
}
