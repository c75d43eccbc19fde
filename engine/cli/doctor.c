/* colonnade doctor: what this machine gives, and a warning of whatever would slow a run. */
#include "engine/cli/cli.h"

#include "engine/base/cgroup.h"

#include <H5public.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double peak_seconds = 0.4, memory_least = 1e9; /* bytes */

/* The text after "KEY<blanks>:" in the first line of `path` that begins with `key`. */
static bool find_line(const char *path, const char *key, char *value, size_t size)
{
    char line[512];
    FILE *file = fopen(path, "r");
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        found = colon && strncmp(line, key, strlen(key)) == 0;
        if (found)
            snprintf(value, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
    }
    if (file)
        fclose(file);
    if (found)
        value[strcspn(value, "\n")] = '\0';
    return found;
}

static double available_bytes(void)
{
    char value[64];
    return find_line("/proc/meminfo", "MemAvailable", value, sizeof value)
               ? strtod(value, NULL) * 1024
               : 0;
}

static int usable_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : thread_count(0);
}

static enum colonnade_status measure(int threads, double *rate, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct peak *peak = NULL;
    TRY(peak_create(&peak, threads, error));
    peak_measure(peak, peak_seconds / 4);
    *rate = peak_measure(peak, peak_seconds);
out:
    peak_destroy(peak);
    return status;
}

static void print_machine(int threads)
{
    const double available = available_bytes();
    const double allowed = (double)cgroup_limits("").memory_bytes;
    char cpu[256] = "unknown";
    find_line("/proc/cpuinfo", "model name", cpu, sizeof cpu);
    printf("CPU          %s\n", cpu);
    printf("cores        %ld in the machine, %d for this process; a run takes %d thread%s\n",
           sysconf(_SC_NPROCESSORS_ONLN), usable_cores(), threads, plural(threads));
    printf("kernels      %s\n", kernels_best()->isa);
    printf("memory       %s available", bytes_text(available));
    if (allowed < available)
        printf("; the control group allows %s", bytes_text(allowed));
    printf("\n");
}

static void print_blas(const struct blas_facts *facts)
{
    printf("BLAS         %s\n", facts->library);
    printf("BLAS kernel  %s", facts->kernel ? facts->kernel : "unknown");
    if (facts->default_kernel)
        printf(" (set by colonnade: the library's own choice for this CPU is %s)",
               facts->default_kernel);
    else if (getenv("OPENBLAS_CORETYPE"))
        printf(" (OPENBLAS_CORETYPE=%s)", getenv("OPENBLAS_CORETYPE"));
    else
        printf(" (the library's own choice)");
    printf("\n");
}

static enum colonnade_status print_peaks(int threads, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    double one, all;
    TRY(measure(1, &one, error));
    TRY(measure(threads, &all, error));
    printf("sgemm        %.1f GFLOP/s on one thread, %.1f on %d\n", one, all, threads);
out:
    return status;
}

static void print_hdf5(void)
{
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    printf("HDF5         %u.%u.%u\n", major, minor, release);
}

static int warn_of_blas(const struct blas_facts *facts)
{
    int count = 0;
    if (facts->wanted && ++count)
        printf("warning: the BLAS kernel %s is narrower than this CPU: "
               "OPENBLAS_CORETYPE=%s would be faster%s\n",
               facts->kernel, facts->wanted,
               getenv("OPENBLAS_CORETYPE") ? " than what is set now" : "");
    if (facts->default_kernel && ++count)
        printf("warning: this OpenBLAS is older than the CPU: other programs run on its kernel %s "
               "unless OPENBLAS_CORETYPE is set\n",
               facts->default_kernel);
    if (facts->own_threads && ++count)
        printf("warning: this OpenBLAS has threads of its own, held to one a call here: its OpenMP "
               "build (libopenblas-openmp-dev) is the better company\n");
    return count;
}

static int warn_of_environment(void)
{
    static const struct {
        const char *name, *effect;
    } variables[] = {
        {"OPENBLAS_NUM_THREADS", "it may bound the threads that call BLAS at a time"},
        {"GOTO_NUM_THREADS", "it may bound the threads that call BLAS at a time"},
        {"OPENBLAS_L2_SIZE", "it changes how OpenBLAS cuts its matrices, and so bits and speed"},
        {"OMP_NUM_THREADS", "it may bound the threads of a run: --threads asks for a number"},
        {"OMP_THREAD_LIMIT", "it bounds the threads of a run, whatever --threads asks for"},
        {"OMP_PROC_BIND", "threads stay where they are put, beside whatever runs there"},
        {"OMP_WAIT_POLICY", "it decides how threads wait between stages"},
    };
    int count = 0;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *value = getenv(variables[i].name);
        if (value && ++count)
            printf("warning: %s=%s is set: %s\n", variables[i].name, value, variables[i].effect);
    }
    return count;
}

static int warn_of_machine(int threads)
{
    int count = 0;
    const struct cgroup_limits limits = cgroup_limits("");
    const double quota = limits.cores;
    const double memory = fmin(available_bytes(), (double)limits.memory_bytes);
    double load = 0;
    if (strcmp(kernels_best()->isa, "baseline") == 0 && ++count)
        printf("warning: this CPU has no vectors that the kernels are written for (AVX2 or "
               "AVX-512)\n");
    if (quota > 0 && quota < threads && ++count)
        printf("warning: the control group allows %.1f cores: %d threads will wait for each "
               "other\n",
               quota, threads);
    if (memory > 0 && memory < memory_least && ++count)
        printf("warning: %s of memory are available\n", bytes_text(memory));
    if (getloadavg(&load, 1) == 1 && load > 0.5 * threads && ++count)
        printf("warning: the machine is busy: a load of %.1f on %d core%s\n", load, threads,
               plural(threads));
    return count;
}

enum colonnade_status verb_doctor(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const int threads = thread_count(0);
    const struct blas_facts blas = blas_facts();
    print_machine(threads);
    print_blas(&blas);
    print_hdf5();
    TRY(print_peaks(threads, error));
    if (warn_of_blas(&blas) + warn_of_environment() + warn_of_machine(threads) == 0)
        printf("nothing here would slow a run\n");
out:
    return status;
}
