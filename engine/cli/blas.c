/* What has to be set right about OpenBLAS before it is used.
 *
 * A release of OpenBLAS does not know the processors that came after it: on such a one it takes
 * its oldest kernels, which are many times slower than those that the processor's vectors would
 * run. It reads OPENBLAS_CORETYPE only while it is loaded, so the program sets it and starts
 * itself again, once; a value of the user's own is left alone.
 */
#include "engine/cli/cli.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

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

void blas_prepare(char **argv)
{
    const char *kernel = openblas_get_corename();
    const char *wanted = wider_kernel(kernel);
    bool selectable = strstr(openblas_get_config(), "DYNAMIC_ARCH") != NULL;
    if (wanted && selectable && !getenv(kernel_variable)) {
        setenv(default_kernel_variable, kernel, 1);
        setenv(kernel_variable, wanted, 1);
        execv("/proc/self/exe", argv);
        unsetenv(kernel_variable); /* no second start: slower, and doctor says so */
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

void blas_prepare(char **argv)
{
}

struct blas_facts blas_facts(void)
{
    return (struct blas_facts){.library = "a library with the cblas interface"};
}

#endif
