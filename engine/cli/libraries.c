/* What has to be set right about OpenBLAS and libgomp before they are used. Both read their
 * environment variables only while they are loaded: so the program sets these and starts itself
 * again, once. A value of the user's own is left alone.
 *
 * A release of OpenBLAS does not know the processors that came after it: on such a one it takes
 * its oldest kernels, which are many times slower than those that the processor's vectors would
 * run.
 *
 * A thread of libgomp's that waits for others spins for milliseconds before it sleeps. Where
 * another program has a core to itself that is the time of many steps, at every barrier; spinning
 * for a tenth of a millisecond costs nothing on an idle machine.
 */
#include "engine/cli/cli.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char spin_variable[] = "GOMP_SPINCOUNT", policy_variable[] = "OMP_WAIT_POLICY";
static const char spin_count[] = "2000";

/* Whether it was not set, and now is. */
static bool set_spinning(void)
{
    return !getenv(spin_variable) && !getenv(policy_variable) &&
           setenv(spin_variable, spin_count, 1) == 0;
}

/* Returns only where it could not be. The program goes by its path: /proc/self/exe itself would be
 * valgrind's where that runs the program. */
static void restart(char **argv)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length < 0)
        return;
    path[length] = '\0';
    execv(path, argv);
}

#ifdef WITH_OPENBLAS

/* Remembers the library's own choice over the second start. */
static const char default_kernel_variable[] = "COLONNADE_BLAS_DEFAULT";
static const char kernel_variable[] = "OPENBLAS_CORETYPE";

enum { OPENBLAS_THREADS = 1 }; /* openblas_get_parallel(): threads that are not OpenMP's */

#ifdef __x86_64__
static const char *const avx512_kernels[] = {"SkylakeX", "Cooperlake", "SapphireRapids",
                                             "Zen4",     "Zen5",       NULL};
static const char *const avx2_kernels[] = {"Haswell", "Zen", "Excavator", NULL};

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcasecmp(name, *names) == 0)
            return true;
    return false;
}

/* The kernel that this processor should have, where `kernel` is narrower; else NULL. */
static const char *wider_kernel(const char *kernel)
{
    __builtin_cpu_init();
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (is_one_of(kernel, avx512_kernels))
        return NULL;
    if (avx512)
        return "SkylakeX";
    return avx2 && !is_one_of(kernel, avx2_kernels) ? "Haswell" : NULL;
}
#else
static const char *wider_kernel(const char *kernel)
{
    return NULL;
}
#endif

/* Likewise for a kernel wider than the library's own choice. */
static bool set_kernel(void)
{
    const char *kernel = openblas_get_corename(), *wanted = wider_kernel(kernel);
    bool selectable = strstr(openblas_get_config(), "DYNAMIC_ARCH") != NULL;
    return wanted && selectable && !getenv(kernel_variable) &&
           setenv(default_kernel_variable, kernel, 1) == 0 &&
           setenv(kernel_variable, wanted, 1) == 0;
}

void libraries_prepare(char **argv)
{
    bool kernel = set_kernel(), spinning = set_spinning();
    if (kernel || spinning)
        restart(argv);
    if (kernel) { /* no second start: slower, and doctor says so */
        unsetenv(kernel_variable);
        unsetenv(default_kernel_variable);
    }
    /* In the OpenMP build this call would set the number of OpenMP's threads. */
    if (openblas_get_parallel() == OPENBLAS_THREADS)
        openblas_set_num_threads(1);
}

struct blas_facts blas_facts(void)
{
    const char *kernel = openblas_get_corename();
    return (struct blas_facts){
        .library = openblas_get_config(),
        .kernel = kernel,
        .default_kernel = getenv(default_kernel_variable),
        .wanted = wider_kernel(kernel),
        .own_threads = openblas_get_parallel() == OPENBLAS_THREADS,
    };
}

#else

void libraries_prepare(char **argv)
{
    if (set_spinning())
        restart(argv);
}

struct blas_facts blas_facts(void)
{
    return (struct blas_facts){.library = "a library with the cblas interface"};
}

#endif
