/* The limits of control groups, read from a made-up /proc and /sys. */
#include "engine/base/cgroup.h"
#include "tests/unit/support.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[] = "/tmp/colonnade-cgroup-XXXXXX";

static void make_root(void)
{
    cr_assert_not_null(mkdtemp(root));
}

static void remove_root(void)
{
    remove_tree(root);
}

TestSuite(cgroup, .init = make_root, .fini = remove_root);

/* A file below the root, with the folders on its way. */
static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *slash = strchr(path + strlen(root) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file, "%s", path);
    fputs(text, file);
    fclose(file);
}

static void expect(size_t bytes, double cores)
{
    const struct cgroup_limits limits = cgroup_limits(root);
    cr_expect_eq(limits.memory_bytes, bytes, "%zu bytes, not %zu", limits.memory_bytes, bytes);
    cr_expect_eq(limits.cores, cores, "%g cores, not %g", limits.cores, cores);
}

Test(cgroup, without_groups_there_is_no_limit)
{
    expect(SIZE_MAX, 0);
    put("proc/self/cgroup", "0::/\n");
    expect(SIZE_MAX, 0);
    put("proc/self/cgroup", "no group\n\n1:\n");
    expect(SIZE_MAX, 0);
}

Test(cgroup, the_least_of_a_group_and_of_those_around_it_counts)
{
    put("proc/self/cgroup", "0::/user/job/step\n");
    put("sys/fs/cgroup/user/job/step/memory.max", "max\n");
    put("sys/fs/cgroup/user/job/step/cpu.max", "max 100000\n");
    expect(SIZE_MAX, 0);
    put("sys/fs/cgroup/user/memory.max", "3000000000\n");
    put("sys/fs/cgroup/user/cpu.max", "150000 100000\n");
    expect(3000000000, 1.5);
    put("sys/fs/cgroup/user/job/memory.max", "2000000000\n");
    put("sys/fs/cgroup/user/job/cpu.max", "400000 100000\n");
    expect(2000000000, 1.5);
    put("sys/fs/cgroup/user/job/step/memory.max", "0\n");
    put("sys/fs/cgroup/user/job/step/cpu.max", "50000 100000\n");
    expect(0, 0.5);
    /* Not one of this process's. */
    put("proc/self/cgroup", "0::/user/other\n");
    expect(3000000000, 1.5);
}

Test(cgroup, a_group_that_is_mounted_as_the_root_counts)
{
    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/memory.max", "1000000\n");
    put("sys/fs/cgroup/cpu.max", "200000 100000\n");
    expect(1000000, 2);
    put("proc/self/cgroup", "0::/docker/0123\n");
    expect(1000000, 2);
}

Test(cgroup, version_1_has_a_tree_for_each_controller)
{
    put("proc/self/cgroup", "4:cpu,cpuacct:/a\n3:memory:/b/c\n1:name=systemd:/\n0::/\n");
    put("sys/fs/cgroup/memory/b/c/memory.limit_in_bytes", "9223372036854771712\n");
    put("sys/fs/cgroup/memory/b/memory.limit_in_bytes", "5000000\n");
    put("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "7\n");
    put("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
    expect(5000000, 0);
    put("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "250000\n");
    expect(5000000, 2.5);
}
