/* The parts of a page that compares runs, each written where compare.html names it: {{name}}. */
#ifndef ENGINE_REPORT_COMPARE_H
#define ENGINE_REPORT_COMPARE_H

#include "engine/train/run.h"

#include <stdio.h>

struct comparison {
    struct run *const *runs;  /* [count] */
    const char *const *paths; /* [count] of their files */
    size_t count;
};

/* NULL-terminated by a name of NULL. */
extern const struct compare_section {
    const char *name;
    enum colonnade_status (*write)(FILE *page, const struct comparison *comparison,
                                   struct colonnade_error *error);
} compare_sections[];

#endif
