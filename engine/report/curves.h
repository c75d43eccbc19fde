/* Numbers of a run's curves, for pages of one run and of several. */
#ifndef ENGINE_REPORT_CURVES_H
#define ENGINE_REPORT_CURVES_H

#include "engine/train/run.h"

#include <stdio.h>

/* {"epoch":[1,2],"train_loss":[...], ...}: numbers alone, null for what is not finite. */
void curves_write_epochs(FILE *page, const struct metrics *metrics);

/* The first with the best validation accuracy; NULL where none has one. */
const struct epoch_record *curves_best_epoch(const struct metrics *metrics);

#endif
