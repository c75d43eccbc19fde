/* Which instruction sets this processor runs. */
#include "kernels.h"

extern const struct kernels kernels_baseline;
#ifdef KERNELS_X86_64
extern const struct kernels kernels_avx2, kernels_avx512;
#endif

size_t kernels_available(const struct kernels *tables[], size_t limit)
{
    const struct kernels *found[3];
    size_t count = 0;
    found[count++] = &kernels_baseline;
#ifdef KERNELS_X86_64
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
    if (avx2)
        found[count++] = &kernels_avx2;
    if (avx2 && avx512)
        found[count++] = &kernels_avx512;
#endif
    for (size_t i = 0; i < count && i < limit; i++)
        tables[i] = found[i];
    return count < limit ? count : limit;
}

const struct kernels *kernels_best(void)
{
    const struct kernels *tables[3];
    return tables[kernels_available(tables, 3) - 1];
}
