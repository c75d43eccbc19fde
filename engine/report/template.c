/* Walks a template and lets each section write itself where the template names it. What sections
 * write is not looked at again, so that a class named "{{title}}" is a class. Knows nothing of what
 * sections show.
 */
#include "engine/report/template.h"

#include "engine/base/memory.h"
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

static bool write_script(FILE *page, const struct template *template, const char *slot,
                         size_t length)
{
    if (!template_names("script", slot, length))
        return false;
    for (size_t i = 0; i < COUNT_OF(template->scripts); i++)
        if (template->scripts[i])
            fputs(template->scripts[i], page);
    return true;
}

static enum colonnade_status write_part(FILE *page, const char *text,
                                        const struct template *template, const void *subject,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char *rest = text, *slot;
    while ((slot = strstr(rest, "{{"))) {
        const char *name = slot + 2, *end = strstr(slot, "}}");
        const size_t length = (size_t)(end - name);
        fwrite(rest, 1, (size_t)(slot - rest), page);
        if (!write_asset(page, name, length) && !write_script(page, template, name, length))
            TRY(template->write(page, name, length, subject, error));
        rest = end + 2;
    }
    fputs(rest, page);
out:
    return status;
}

enum colonnade_status template_fill(const struct template *template, const void *subject,
                                    char **html, size_t *count, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    *html = NULL;
    FILE *page = open_memstream(html, count);
    if (!page)
        RAISE(COLONNADE_FAILURE, "no memory for a report: %s", strerror(errno));
    TRY(write_part(page, report_head, template, subject, error));
    TRY(write_part(page, template->body, template, subject, error));
    TRY(write_part(page, report_tail, template, subject, error));
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
