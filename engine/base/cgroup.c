/* Reads /proc/self/cgroup and the files of the groups that it names. */
#include "engine/base/cgroup.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The first numbers in FOLDER/NAME; returns how many: 0 also where it says "max". */
static int read_numbers(const char *folder, const char *name, double *first, double *second)
{
    char path[PATH_MAX];
    int count = 0;
    FILE *file = NULL;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path)
        file = fopen(path, "r");
    if (file) {
        count = fscanf(file, "%lf %lf", first, second);
        fclose(file);
    }
    return count;
}

static void limit_memory(struct cgroup_limits *limits, double bytes)
{
    if (bytes >= 0 && bytes < (double)limits->memory_bytes)
        limits->memory_bytes = (size_t)bytes;
}

static void limit_cores(struct cgroup_limits *limits, double quota, double period)
{
    const double cores = quota > 0 && period > 0 ? quota / period : 0;
    if (cores > 0 && (limits->cores == 0 || cores < limits->cores))
        limits->cores = cores;
}

/* By the files of version 2 and of version 1: a group has those of one. */
static void take_group(struct cgroup_limits *limits, const char *folder)
{
    double first, second;
    if (read_numbers(folder, "memory.max", &first, &second) > 0)
        limit_memory(limits, first);
    if (read_numbers(folder, "memory.limit_in_bytes", &first, &second) > 0)
        limit_memory(limits, first);
    if (read_numbers(folder, "cpu.max", &first, &second) == 2)
        limit_cores(limits, first, second);
    if (read_numbers(folder, "cpu.cfs_quota_us", &first, &second) > 0 &&
        read_numbers(folder, "cpu.cfs_period_us", &second, &second) > 0)
        limit_cores(limits, first, second);
}

/* The group and all around it, up to the one that is mounted: in a container that may be its own,
 * and the groups between are not to be seen. */
static void take_groups(struct cgroup_limits *limits, const char *mount, const char *group)
{
    char folder[PATH_MAX];
    char *slash = folder;
    if (snprintf(folder, sizeof folder, "%s%s", mount, group) >= (int)sizeof folder)
        return;
    while (slash) {
        take_group(limits, folder);
        slash = strrchr(folder + strlen(mount), '/');
        if (slash)
            *slash = '\0';
    }
}

struct cgroup_limits cgroup_limits(const char *root)
{
    struct cgroup_limits limits = {.memory_bytes = SIZE_MAX};
    char line[PATH_MAX], mount[PATH_MAX];
    snprintf(mount, sizeof mount, "%s/proc/self/cgroup", root);
    FILE *file = fopen(mount, "r");
    /* NUMBER:CONTROLLERS:GROUP, and of version 2 no controllers: all are in one place. */
    while (file && fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(++controllers, ':') : NULL;
        if (!group)
            continue;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        for (const char *name; (name = strsep(&controllers, ",")) != NULL;)
            if (snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/%s", root, name) <
                (int)sizeof mount)
                take_groups(&limits, mount, group);
    }
    if (file)
        fclose(file);
    return limits;
}
