/* Which parts of an image an answer rests on. */
#ifndef ENGINE_REPORT_OCCLUSION_H
#define ENGINE_REPORT_OCCLUSION_H

#include "engine/train/run.h"

/* Covers `input` [c, h, w], as the network gets it, at grid x grid places, one at a time: the
 * middle of a patch, a quarter of each side, goes over the middles of the grid's cells; what hangs
 * over the edge is cut off. `map` [h, w] becomes the mean, over the patches on a pixel, of how much
 * probability the class lost; `*least` what it had left at the least. */
enum colonnade_status occlusion_map(const struct run *run, const float *input, int class, int grid,
                                    int threads, float *map, double *least,
                                    struct colonnade_error *error);

#endif
