/* Windows that slide over an image: what conv and pooling have in common. */
#ifndef ENGINE_NODES_WINDOW_H
#define ENGINE_NODES_WINDOW_H

#include "engine/nodes/node.h"

struct window_settings {
    struct pair kernel, stride, dilation;
    struct padding padding;
    bool ceil;
};

/* Sets node->out.h, .w, node->padding and the window (oc and g are the caller's) for input
 * node->in; an error where no output pixel can be. */
enum colonnade_status window_resolve(struct node *node, const struct node_build *build,
                                     const struct window_settings *settings, struct window *window,
                                     struct colonnade_error *error);

/* What of node->in the windows of node->out reach: all up to where the last ones end. */
struct shape window_reads(const struct node *node, const struct window *window);

#endif
