/* Walks a template and lets each section write itself where the template names it. What sections
 * write is not looked at again, so that a class named "{{title}}" is a class. Knows nothing of what
 * sections show.
 */
#include "engine/report/template.h"

#include "engine/report/assets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct asset {
    const char *name, *bytes;
    const size_t *count;
};

static const struct asset assets[] = {
    {"style", report_style, &report_style_bytes},
    {"common", report_common, &report_common_bytes},
    {"script", report_script, &report_script_bytes},
    {"gallery", report_gallery, &report_gallery_bytes},
    {"sweep_script", report_sweep_script, &report_sweep_script_bytes},
    {"chartjs", report_chartjs, &report_chartjs_bytes},
};

bool template_names(const char *name, const char *slot, size_t length)
{
    return strlen(name) == length && memcmp(name, slot, length) == 0;
}

static bool write_asset(FILE *page, const char *slot, size_t length)
{
    for (size_t i = 0; i < sizeof assets / sizeof *assets; i++)
        if (template_names(assets[i].name, slot, length)) {
            fwrite(assets[i].bytes, 1, *assets[i].count, page);
            return true;
        }
    return false;
}

static enum colonnade_status write_page(FILE *page, const char *template, write_section *write,
                                        const void *subject, struct colonnade_error *error)
{
    const char *rest = template, *slot;
    while ((slot = strstr(rest, "{{"))) {
        const char *name = slot + 2, *end = strstr(slot, "}}");
        const size_t length = (size_t)(end - name);
        fwrite(rest, 1, (size_t)(slot - rest), page);
        if (!write_asset(page, name, length)) {
            enum colonnade_status status = write(page, name, length, subject, error);
            if (status != COLONNADE_OK)
                return status;
        }
        rest = end + 2;
    }
    fputs(rest, page);
    return COLONNADE_OK;
}

enum colonnade_status template_fill(const char *template, write_section *write, const void *subject,
                                    char **html, size_t *count, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    *html = NULL;
    FILE *page = open_memstream(html, count);
    if (!page)
        RAISE(COLONNADE_FAILURE, "no memory for a report: %s", strerror(errno));
    TRY(write_page(page, template, write, subject, error));
out:
    if (page) {
        bool failed = ferror(page);
        if ((fclose(page) != 0 || failed) && status == COLONNADE_OK)
            status = error_set(error, COLONNADE_FAILURE, "no memory for a report");
        if (status != COLONNADE_OK) {
            free(*html);
            *html = NULL;
        }
    }
    return status;
}
