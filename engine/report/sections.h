/* The parts of the page that come from a run, each written where page.html names it: {{name}}.
 * A stream that runs out of memory remembers it: who opened it asks once, at the end.
 */
#ifndef ENGINE_REPORT_SECTIONS_H
#define ENGINE_REPORT_SECTIONS_H

#include "engine/train/run.h"

#include <stdio.h>

typedef enum colonnade_status section_writer(FILE *page, const struct run *run,
                                             struct colonnade_error *error);

/* Facts of the program and the machine, as far as they are known. */
void write_origin(FILE *page, const struct origin *origin);

section_writer section_title, section_headline, section_facts, section_config; /* overview.c */
section_writer section_curves, section_epochs, section_data;                   /* curves.c */
section_writer section_classes, section_confusion;                             /* classes.c */
section_writer section_network;                                                /* network.c */
section_writer section_graph;                                                  /* graph.c */
section_writer section_filters;                                                /* filters.c */
section_writer section_samples;                                                /* samples.c */
section_writer section_worst;                                                  /* worst.c */
section_writer section_features;                                               /* features.c */
section_writer section_occlusion;                                              /* occlusion.c */

#endif
