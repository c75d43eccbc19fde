/* Runs made up for the tests of the report: real configs and graphs, invented results. */
#ifndef TESTS_REPORT_MADE_H
#define TESTS_REPORT_MADE_H

#include "engine/train/run.h"

struct made {
    const char *name;
    const char *network; /* its sections */
    struct shape shape;
    int classes, epochs;
    long steps;
    bool validation, evaluated;
    const char *const *class_names; /* [classes]; NULL: "class 0", ... */
    const char *path;               /* of the data; NULL: /data/digits */
    bool profiled;
};

/* NULL-terminated by a name of NULL. */
extern const struct made made_runs[];

/* Exits the program with a sentence where the run cannot be made. */
struct run *made_create(const struct made *made);
const struct made *made_find(const char *name);
void made_destroy(struct run *run);

#endif
