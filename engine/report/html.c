/* Texts and numbers as HTML. Knows nothing of runs. */
#include "engine/report/html.h"

#include "engine/base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Bytes of the character at `text` if it is well-formed UTF-8 and may stand in HTML, else 0. */
static size_t character_bytes(const char *text)
{
    const char *next = text;
    const uint32_t character = utf8_next(&next);
    const bool control = (character < 0x20 && character != '\n' && character != '\t') ||
                         (character >= 0x7f && character < 0xa0);
    const bool damaged = character == 0xfffd && next - text == 1;
    return control || damaged ? 0 : (size_t)(next - text);
}

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void html_text(FILE *page, const char *text)
{
    while (*text) {
        size_t count = character_bytes(text);
        if (count == 0)
            fputs("\xef\xbf\xbd", page);
        else if (entity(*text))
            fputs(entity(*text), page);
        else
            fwrite(text, 1, count, page);
        text += count ? count : 1;
    }
}

void html_count(FILE *page, uint64_t count)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, count);
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            fputc(',', page);
        fputc(digits[i], page);
    }
}

void html_percent(FILE *page, double share)
{
    if (isnan(share))
        fputs("–", page);
    else
        fprintf(page, "%.2f%%", 100 * share);
}

void html_number(FILE *page, double number)
{
    if (isnan(number))
        fputs("–", page);
    else
        fprintf(page, "%.4g", number);
}

void html_json_number(FILE *page, double number, int digits)
{
    if (isfinite(number))
        fprintf(page, "%.*g", digits, number);
    else
        fputs("null", page);
}

const char *html_shade_class(double opacity)
{
    return opacity > 0.8 ? "strong" : "weak";
}

void html_rate(FILE *page, double per_second)
{
    if (per_second >= 100 && per_second < 1e15)
        html_count(page, (uint64_t)llround(per_second));
    else
        html_number(page, per_second);
}

void html_duration(FILE *page, double seconds)
{
    if (!(seconds < 1e12)) {
        html_number(page, seconds);
        return;
    }
    unsigned long long whole = (unsigned long long)llround(seconds);
    if (seconds < 9.95)
        fprintf(page, "%.1f s", seconds);
    else if (whole < 60)
        fprintf(page, "%llu s", whole);
    else if (whole < 3600)
        fprintf(page, "%llu min %02llu s", whole / 60, whole % 60);
    else
        fprintf(page, "%llu h %02llu min", whole / 3600, whole % 3600 / 60);
}

void html_file_name(FILE *page, const char *path)
{
    const char *slash = strrchr(path, '/');
    char name[256];
    snprintf(name, sizeof name, "%s", slash ? slash + 1 : path);
    char *dot = strrchr(name, '.');
    if (dot && dot != name)
        *dot = '\0';
    html_text(page, name);
}

void html_headline_number(FILE *page, const char *label, double number, html_format *format)
{
    fprintf(page, "<div><dt>%s</dt><dd", label);
    if (isfinite(number))
        fprintf(page, " data-value=\"%.9g\"", number);
    fputc('>', page);
    format(page, number);
    fputs("</dd></div>\n", page);
}

void html_headline_count(FILE *page, const char *label, uint64_t count, const char *note)
{
    fprintf(page, "<div><dt>%s</dt><dd data-value=\"%" PRIu64 "\">", label, count);
    html_count(page, count);
    fprintf(page, "%s</dd></div>\n", note);
}

void html_fact_begin(FILE *page, const char *label)
{
    fprintf(page, "<div><dt>%s</dt><dd>", label);
}

void html_fact_text(FILE *page, const char *label, const char *text)
{
    html_fact_begin(page, label);
    html_text(page, text);
    fputs("</dd></div>\n", page);
}

void html_fact_count(FILE *page, const char *label, uint64_t count)
{
    html_fact_begin(page, label);
    html_count(page, count);
    fputs("</dd></div>\n", page);
}

static void cell_begin(FILE *page, double share)
{
    fputs("<td", page);
    if (share >= 0)
        fprintf(page, " class=\"bar\" style=\"--share:%.4f\"", share);
}

void html_cell_share(FILE *page, double number, html_format *format, double share)
{
    cell_begin(page, share);
    if (isfinite(number))
        fprintf(page, " data-value=\"%.9g\"", number);
    fputc('>', page);
    format(page, number);
    fputs("</td>", page);
}

void html_cell_count_share(FILE *page, uint64_t count, double share)
{
    cell_begin(page, share);
    fprintf(page, " data-value=\"%" PRIu64 "\">", count);
    html_count(page, count);
    fputs("</td>", page);
}

void html_cell(FILE *page, double number, html_format *format)
{
    html_cell_share(page, number, format, -1);
}

void html_cell_count(FILE *page, uint64_t count)
{
    html_cell_count_share(page, count, -1);
}

void html_table_begin(FILE *page, const char *label, const char *kind)
{
    fprintf(page,
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\">\n"
            "<table class=\"%s\">\n",
            label, kind);
}

void html_table_end(FILE *page)
{
    fputs("</table>\n</div>\n", page);
}
