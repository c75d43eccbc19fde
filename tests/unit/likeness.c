/* Distances of hashes and products of bytes, against counting bit by bit. Sizes sweep around the
 * vector widths and the block. */
#include "tests/unit/support.h"

#include <Random123/philox.h>
#include <string.h>

enum { MOST = 1031 };

static const size_t sizes[] = {0, 1, 2, 7, 8, 9, 31, 63, 64, 65, 129, MOST};

static uint64_t draw(uint32_t index)
{
    const philox2x32_ctr_t counter = {{index, 0}};
    const philox2x32_key_t key = {{5}};
    const philox2x32_ctr_t drawn = philox2x32(counter, key);
    return (uint64_t)drawn.v[0] << 32 | drawn.v[1];
}

static int distance(uint64_t a, uint64_t b)
{
    int bits = 0;
    for (int i = 0; i < 64; i++)
        bits += (a >> i & 1) != (b >> i & 1);
    return bits;
}

Test(likeness, finds_the_hashes_within_a_bound_in_order)
{
    static uint64_t hashes[MOST];
    static uint32_t hits[MOST];
    const struct kernels *tables[3];
    for (uint32_t i = 0; i < MOST; i++) /* 0 to 63 bits apart from 0, and random */
        hashes[i] = i % 3 ? draw(i) : draw(i) >> i % 64;
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int bound = 0; bound <= 64; bound += 8) {
                size_t found, at = 0;
                tables[t]->hamming_within(sizes[s], hashes, 0, bound, hits, &found);
                for (uint32_t i = 0; i < sizes[s]; i++)
                    if (distance(hashes[i], 0) <= bound) {
                        cr_assert_lt(at, found);
                        cr_assert_eq(hits[at], i);
                        at++;
                    }
                cr_assert_eq(at, found);
            }
}

Test(likeness, multiplies_bytes)
{
    static uint8_t a[1 << 15], b[1 << 15];
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            uint32_t dot, want = 0;
            for (uint32_t i = 0; i < sizes[s]; i++) {
                a[i] = (uint8_t)draw(i);
                b[i] = (uint8_t)draw(MOST + i);
                want += (uint32_t)a[i] * b[i];
            }
            tables[t]->dot_bytes(sizes[s], a, b, &dot);
            cr_assert_eq(dot, want);
        }
        uint32_t dot;
        memset(a, 255, sizeof a);
        tables[t]->dot_bytes(sizeof a, a, a, &dot); /* the largest that fits */
        cr_assert_eq(dot, 32768u * 255 * 255);
    }
}
