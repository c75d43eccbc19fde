/* The sums of a profile. Whoever makes steps counts them, and their seconds. */
#include "engine/train/profile.h"

#include "engine/base/memory.h"

#include <stdlib.h>
#include <string.h>

enum colonnade_status profile_create(struct profile **profile, const struct graph *graph,
                                     int threads, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct profile *made = NULL;
    TRY(memory_allocate(&made, 1, sizeof *made, "a profile", error));
    made->threads = threads;
    /* One more, which the plan's times have. */
    TRY(memory_allocate(&made->nodes, (size_t)graph->count + 1, sizeof *made->nodes, "a profile",
                        error));
    *profile = made;
    made = NULL;
out:
    profile_destroy(made);
    return status;
}

void profile_destroy(struct profile *profile)
{
    if (!profile)
        return;
    free(profile->nodes);
    free(profile);
}

void profile_take(struct profile *profile, const struct graph *graph, const struct plan *plan)
{
    plan_profile(plan, profile->nodes);
    profile->loss_seconds = profile->nodes[graph->count].forward.seconds;
    for (int i = 0; i < graph->count; i++) {
        const int owner = graph->nodes[i].owner;
        if (owner == i)
            continue;
        node_time_add(&profile->nodes[owner], &profile->nodes[i]);
        profile->nodes[i] = (struct node_time){0};
    }
}

double profile_milliseconds(const struct profile *profile, double seconds)
{
    return profile->steps ? 1e3 * seconds / profile->threads / (double)profile->steps : 0;
}

double profile_waiting_milliseconds(const struct profile *profile, const struct graph *graph)
{
    struct node_time all = {.forward.seconds = profile->loss_seconds};
    for (int i = 0; i < graph->count; i++)
        node_time_add(&all, &profile->nodes[i]);
    const double clock = profile->seconds - profile->optimizer_seconds;
    return profile_milliseconds(profile, clock * profile->threads - all.forward.seconds -
                                             all.backward.seconds);
}
