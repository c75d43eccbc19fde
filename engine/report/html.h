/* Texts and numbers as HTML. Whatever comes from a config, a folder or a file goes through
 * html_text(): it is shown as it is and is never markup. NaN is shown as a dash.
 */
#ifndef ENGINE_REPORT_HTML_H
#define ENGINE_REPORT_HTML_H

#include <stdint.h>
#include <stdio.h>

/* Escaped for elements and quoted attributes; bytes that are not UTF-8 become U+FFFD. */
void html_text(FILE *page, const char *text);

void html_count(FILE *page, uint64_t count);    /* 61,706 */
void html_percent(FILE *page, double share);    /* 98.12% */
void html_number(FILE *page, double number);    /* four significant digits */
void html_rate(FILE *page, double per_second);  /* whole numbers from 100 on */
void html_duration(FILE *page, double seconds); /* 3 min 12 s */

/* For scripts: `digits` significant ones; null for what is not finite, as JSON knows no such. */
void html_json_number(FILE *page, double number, int digits);

typedef void html_format(FILE *page, double number);

/* A shaded cell's class: from an opacity of its colour on, the page's ink is harder to read on it
 * than the ink made for that colour. */
const char *html_shade_class(double opacity);

/* The last part of a path, without its extension. */
void html_file_name(FILE *page, const char *path);

/* Items of a list of terms. A headline's data-value holds the number itself; `note` follows it as
 * it is. A fact that was begun ends with "</dd></div>". */
void html_headline_number(FILE *page, const char *label, double number, html_format *format);
void html_headline_count(FILE *page, const char *label, uint64_t count, const char *note);
void html_fact_begin(FILE *page, const char *label);
void html_fact_text(FILE *page, const char *label, const char *text);
void html_fact_count(FILE *page, const char *label, uint64_t count);

/* A table's cell; its data-value holds the number itself, for sorting and for other programs. */
void html_cell(FILE *page, double number, html_format *format);
void html_cell_count(FILE *page, uint64_t count);
/* The same with a bar behind the number: `share` of the cell's width. */
void html_cell_share(FILE *page, double number, html_format *format, double share);
void html_cell_count_share(FILE *page, uint64_t count, double share);

/* A table in a box of its own that scrolls sideways, by keyboard too; "sortable" as `kind`
 * makes its headings buttons. Ends with html_table_end(). */
void html_table_begin(FILE *page, const char *label, const char *kind);
void html_table_end(FILE *page);

#endif
