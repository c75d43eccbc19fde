/* What Linux's control groups, of either version, leave this process of the machine. */
#ifndef ENGINE_BASE_CGROUP_H
#define ENGINE_BASE_CGROUP_H

#include <stddef.h>

struct cgroup_limits {
    size_t memory_bytes; /* SIZE_MAX: no limit */
    double cores;        /* that the quota of time is worth; 0: no quota */
};

/* The least that the process's groups and those around them allow. `root` stands before /proc and
 * /sys: "" for the machine's own. What cannot be read limits nothing. */
struct cgroup_limits cgroup_limits(const char *root);

#endif
