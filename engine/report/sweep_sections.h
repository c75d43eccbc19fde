/* The parts of a sweep's page, each written where sweep.html names it: {{name}}. */
#ifndef ENGINE_REPORT_SWEEP_SECTIONS_H
#define ENGINE_REPORT_SWEEP_SECTIONS_H

#include "engine/sweep/sweep.h"

#include <stdio.h>

struct sweep_subject {
    const struct sweep *sweep;
    const struct sweep_summary *summaries; /* [combinations] */
};

typedef enum colonnade_status sweep_section_writer(FILE *page, const struct sweep_subject *subject,
                                                   struct colonnade_error *error);

/* sweep_overview.c */
sweep_section_writer sweep_section_title, sweep_section_headline, sweep_section_front;
sweep_section_writer sweep_section_data;
sweep_section_writer sweep_section_facts, sweep_section_config;
/* sweep_curves.c */
sweep_section_writer sweep_section_curves;
/* sweep_maps.c */
sweep_section_writer sweep_section_keys, sweep_section_maps;
/* sweep_tables.c */
sweep_section_writer sweep_section_combinations, sweep_section_rows, sweep_section_troubles;

/* "conv1.stride 2, conv1.padding same" */
void sweep_write_settings(FILE *page, const struct sweep *sweep, size_t combination);

/* sweep_tables.c: a table whose first columns are a combination's number and settings; the heading
 * and the row are left open. */
void sweep_table_begin(FILE *page, const struct sweep *sweep, const char *label, const char *kind);
void sweep_table_row(FILE *page, const struct sweep *sweep, size_t combination);

/* sweep_curves.c: "epochs":[...],"curves":[...], numbers alone: those epochs that are drawn, and
 * the means and seeds of every combination that has any. */
void sweep_write_curves(FILE *page, const struct sweep *sweep);

#endif
