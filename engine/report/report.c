/* Puts the page together: walks the template and lets each section write itself where the
 * template names it. What sections write is not looked at again, so that a class named
 * "{{title}}" is a class. Knows nothing of what sections show.
 */
#include "engine/report/report.h"

#include "engine/report/assets.h"
#include "engine/report/sections.h"
#include "engine/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct asset {
    const char *name, *bytes;
    const size_t *count;
};

static const struct asset assets[] = {
    {"style", report_style, &report_style_bytes},
    {"script", report_script, &report_script_bytes},
    {"chartjs", report_chartjs, &report_chartjs_bytes},
};

static const struct {
    const char *name;
    section_writer *write;
} sections[] = {
    {"title", section_title},     {"headline", section_headline},   {"curves", section_curves},
    {"epochs", section_epochs},   {"data", section_data},           {"classes", section_classes},
    {"network", section_network}, {"confusion", section_confusion}, {"filters", section_filters},
    {"facts", section_facts},     {"config", section_config},
};

static bool names(const char *name, const char *slot, size_t length)
{
    return strlen(name) == length && memcmp(name, slot, length) == 0;
}

static enum colonnade_status write_slot(FILE *page, const char *slot, size_t length,
                                        const struct run *run, struct colonnade_error *error)
{
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (names(sections[i].name, slot, length))
            return sections[i].write(page, run, error);
    for (size_t i = 0; i < sizeof assets / sizeof *assets; i++)
        if (names(assets[i].name, slot, length)) {
            fwrite(assets[i].bytes, 1, *assets[i].count, page);
            return COLONNADE_OK;
        }
    return error_set(error, COLONNADE_FAILURE, "the report's template names %.*s, which is nothing",
                     (int)length, slot);
}

static enum colonnade_status write_page(FILE *page, const struct run *run,
                                        struct colonnade_error *error)
{
    const char *rest = report_page, *slot;
    while ((slot = strstr(rest, "{{"))) {
        const char *end = strstr(slot, "}}");
        fwrite(rest, 1, (size_t)(slot - rest), page);
        enum colonnade_status status =
            write_slot(page, slot + 2, (size_t)(end - slot) - 2, run, error);
        if (status != COLONNADE_OK)
            return status;
        rest = end + 2;
    }
    fputs(rest, page);
    return COLONNADE_OK;
}

enum colonnade_status report_html(const struct run *run, char **html, size_t *count,
                                  struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    *html = NULL;
    FILE *page = open_memstream(html, count);
    if (!page)
        RAISE(COLONNADE_FAILURE, "no memory for a report: %s", strerror(errno));
    TRY(write_page(page, run, error));
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

enum colonnade_status report_write(const struct run *run, const char *path,
                                   struct colonnade_error *error)
{
    enum colonnade_status status;
    char *html = NULL;
    size_t count = 0;
    TRY(report_html(run, &html, &count, error));
    TRY(file_replace(path, html, count, error));
out:
    free(html);
    return status;
}
