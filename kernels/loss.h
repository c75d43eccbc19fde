/* Softmax cross-entropy, a row of `classes` logits a sample.
 *
 * softmax_cross_entropy  loss[i] of sample i (natural logarithm, not yet averaged), with
 *                        `smoothing` as torch.nn.CrossEntropyLoss(label_smoothing=) has it, and
 *                        dlogits = scale * d loss[i] / d logits (NULL: not wanted; may be
 *                        logits). rank[i]: how many classes have a logit above the label's, ties
 *                        to the lower index, so 0 is a hit. labels2 (NULL: none) and mix[i]: the
 *                        target is mix[i] of labels and 1 - mix[i] of labels2.
 */
#ifndef KERNELS_LOSS_H
#define KERNELS_LOSS_H

#define LOSS_KERNELS(X)                                                                            \
    X(softmax_cross_entropy, (int n, int classes, const float *logits, const int32_t *labels,      \
                              const int32_t *labels2, const float *mix, float smoothing,           \
                              float scale, double *loss, int32_t *rank, float *dlogits))

#endif
