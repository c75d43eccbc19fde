/* Counter-based random numbers over Random123's Philox. */
#include "engine/base/random.h"

#include <math.h>
#include <Random123/philox.h>

uint32_t random_purpose(enum random_purpose purpose, const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a, 32 bits */
    for (const char *c = name; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619u;
    return (hash & 0xffffff00u) | (uint32_t)purpose;
}

void random_next4(struct random_stream *stream, uint32_t draws[4])
{
    philox4x32_key_t key = {{(uint32_t)stream->seed, (uint32_t)(stream->seed >> 32)}};
    philox4x32_ctr_t counter = {{stream->index++, stream->sample, stream->epoch, stream->purpose}};
    philox4x32_ctr_t block = philox4x32(counter, key);
    for (int i = 0; i < 4; i++)
        draws[i] = block.v[i];
}

double random_uniform(struct random_stream *stream)
{
    uint32_t draws[4];
    random_next4(stream, draws);
    uint64_t bits = ((uint64_t)draws[0] << 32 | draws[1]) >> 11;
    return (double)bits * 0x1p-53;
}

double random_normal(struct random_stream *stream)
{
    uint32_t draws[4];
    random_next4(stream, draws);
    /* Box-Muller; (0, 1] keeps the logarithm finite. */
    double radius = sqrt(-2.0 * log(((double)draws[0] + 1.0) * 0x1p-32));
    return radius * cos(6.283185307179586 * (double)draws[1] * 0x1p-32);
}

uint32_t random_below(struct random_stream *stream, uint32_t bound)
{
    uint32_t limit = UINT32_MAX - UINT32_MAX % bound;
    for (;;) {
        uint32_t draws[4];
        random_next4(stream, draws);
        for (int i = 0; i < 4; i++)
            if (draws[i] < limit)
                return draws[i] % bound;
    }
}

void random_shuffle(struct random_stream stream, uint32_t *order, size_t count)
{
    for (size_t left = count; left > 1; left--) {
        uint32_t pick = random_below(&stream, (uint32_t)left);
        uint32_t last = order[left - 1];
        order[left - 1] = order[pick];
        order[pick] = last;
    }
}
