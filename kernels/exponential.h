/* e^x and functions built on it, for single values, free of branches and tables so that loops
 * over them vectorise. Errors stand at each function, in units in the last place (ulp) of a
 * float; infinities give the limits, NaN stays NaN. Only kernels include this.
 *
 * e^x = 2^k e^r with k = round(x / ln 2) and |r| <= ln 2 / 2. The polynomials are minimax fits in
 * relative error, by Remez exchange.
 */
#ifndef KERNELS_EXPONENTIAL_H
#define KERNELS_EXPONENTIAL_H

#include <math.h>
#include <stdint.h>

union float_bits {
    float value;
    uint32_t bits;
};

/* 2^k for -126 <= k <= 127. */
static inline float power_of_two(int32_t k)
{
    return (union float_bits){.bits = (uint32_t)(k + 127) << 23}.value;
}

/* e^r - 1, and k. |x| <= 2^21; ln 2 is subtracted in two parts, the first with bits to spare. */
static inline float reduced_exponential(float x, int32_t *k)
{
    const float round = 0x1.8p23f; /* a float this large has the integers' spacing */
    union float_bits shifted = {.value = x * 0x1.715476p+0f + round};
    *k = (int32_t)(shifted.bits - (union float_bits){.value = round}.bits);
    float whole = shifted.value - round;
    float r = x - whole * 0x1.62e4p-1f - whole * 0x1.7f7d1cp-20f;
    float q = 0.00138823949f;
    q = q * r + 0.00836718084f;
    q = q * r + 0.0416672213f;
    q = q * r + 0.166665387f;
    q = q * r + 0.49999998f;
    return r + r * r * q;
}

/* e^x, 1.5 ulp, subnormal results too: the power of two comes in two factors. */
static inline float exponential(float x)
{
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    int32_t k;
    float p = reduced_exponential(x, &k);
    int32_t half = k >> 1;
    return (1.0f + p) * power_of_two(half) * power_of_two(k - half);
}

/* e^x - 1 for x <= 0, 2 ulp. */
static inline float exponential_minus_one(float x)
{
    x = x < -30.0f ? -30.0f : x;
    int32_t k;
    float p = reduced_exponential(x, &k);
    float scale = power_of_two(k);
    return scale * p + (scale - 1.0f);
}

/* 1 / (1 + e^-x), 3 ulp. */
static inline float sigmoid(float x)
{
    float e = exponential(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* 3 ulp. */
static inline float hyperbolic_tangent(float x)
{
    float m = exponential_minus_one(-2.0f * fabsf(x));
    return copysignf(m / (2.0f + m), x);
}

/* The normal distribution's tail P(X > |x|), and its density at x. The tail is the density times a
 * polynomial in 1 / (1 + 0.3 |x|). Relative error 4e-7 for |x| <= 3; beyond, that of e^(-x^2/2),
 * x^2 half an ulp. */
static inline float normal_tail(float x, float *density)
{
    float e = exponential(-0.5f * x * x);
    float u = 1.0f / (1.0f + 0.3f * fabsf(x));
    float p = 0.0384252484f;
    p = p * u - 0.169394081f;
    p = p * u + 0.229130283f;
    p = p * u - 0.0770432147f;
    p = p * u + 0.142905358f;
    p = p * u + 0.0945264604f;
    p = p * u + 0.121960378f;
    p = p * u + 0.119482103f;
    p = p * u + 7.49487527e-06f;
    *density = 0.398942280f * e;
    return e * p;
}

#endif
