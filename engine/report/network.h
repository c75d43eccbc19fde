/* What nodes cost: for the network's drawing and for its table. */
#ifndef ENGINE_REPORT_NETWORK_H
#define ENGINE_REPORT_NETWORK_H

#include "engine/train/run.h"

/* Of a node that users wrote, with all that the graph made for it; or of all of them. */
struct cost {
    uint64_t parameters;            /* trainable ones */
    uint64_t macs, bytes;           /* of an image: multiply-adds, output */
    double forward_ms, backward_ms; /* a step, divided among the threads; 0 without a profile */
};

struct cost network_cost(const struct run *run, int node);
struct cost network_total(const struct run *run);
double network_share(double part, double whole); /* 0 of nothing */

#endif
