/* How alike images are, for pairs of many. It knows neither what is hashed nor what a bound means.
 */
#include "kernels.h"

/* Most blocks hold nothing near: they are passed over without a branch for each hash. */
enum { BLOCK = 64 };

/* Bits set: pairs, fours and bytes added side by side, which vectors do as well. */
static inline uint64_t bits_set(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    x += x >> 8;
    x += x >> 16;
    x += x >> 32;
    return x & 0x7f;
}

void KERNEL(hamming_within)(size_t n, const uint64_t *hashes, uint64_t hash, int bound,
                            uint32_t *hits, size_t *count)
{
    uint64_t distances[BLOCK];
    size_t found = 0;
    for (size_t first = 0; first < n; first += BLOCK) {
        const size_t length = n - first < BLOCK ? n - first : BLOCK;
        uint64_t least = 64;
#pragma omp simd reduction(min : least)
        for (size_t i = 0; i < length; i++) {
            const uint64_t distance = bits_set(hashes[first + i] ^ hash);
            distances[i] = distance;
            least = distance < least ? distance : least;
        }
        if ((int)least > bound)
            continue;
        for (size_t i = 0; i < length; i++) { /* without a branch; found <= first + i */
            hits[found] = (uint32_t)(first + i);
            found += (int)distances[i] <= bound;
        }
    }
    *count = found;
}

void KERNEL(dot_bytes)(size_t n, const uint8_t *a, const uint8_t *b, uint32_t *dot)
{
    int32_t sum = 0; /* of products of 16 bits, for which there are instructions */
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += (int16_t)a[i] * (int16_t)b[i];
    *dot = (uint32_t)sum;
}
