/* How alike images are: distances of their hashes, products of their thumbnails. */
#ifndef KERNELS_LIKENESS_H
#define KERNELS_LIKENESS_H

/* hamming_within: the indices of those of n hashes that differ from `hash` in at most `bound` bits,
 *     ascending, into `hits` (room for n); how many into `count`
 * dot_bytes: the sum of a[i] * b[i] over n bytes, n <= 32,768 */
#define LIKENESS_KERNELS(X)                                                                        \
    X(hamming_within,                                                                              \
      (size_t n, const uint64_t *hashes, uint64_t hash, int bound, uint32_t *hits, size_t *count)) \
    X(dot_bytes, (size_t n, const uint8_t *a, const uint8_t *b, uint32_t *dot))

#endif
