/* A page out of a template: {{name}} is an asset, or a section that writes itself there. Pages
 * begin and end alike (head.html, tail.html); a template is what stands between.
 */
#ifndef ENGINE_REPORT_TEMPLATE_H
#define ENGINE_REPORT_TEMPLATE_H

#include "engine/base/error.h"

#include <stdio.h>

/* Writes the section of that name, which is not terminated; raises for one that there is not. */
typedef enum colonnade_status write_section(FILE *page, const char *name, size_t length,
                                            const void *subject, struct colonnade_error *error);

bool template_names(const char *name, const char *slot, size_t length);

struct template
{
    const char *body;
    const char *scripts[2]; /* what {{script}} is in this page; NULL: none */
    write_section *write;
};

/* The page's text, `*count` bytes and a 0 after them; the caller frees it with free(). */
enum colonnade_status template_fill(const struct template *template, const void *subject,
                                    char **html, size_t *count, struct colonnade_error *error);

#endif
