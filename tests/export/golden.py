"""The samples that a run file holds, as exports take and give them."""
import h5py
import numpy


def golden(run):
    """(pixels from 0 to 255 [n, c, h, w], logits [n, classes])"""
    with h5py.File(run) as file:
        facts = file["data/classes"].attrs
        mean, std = (facts[name][:, None, None] for name in ("mean", "std"))
        pixels = numpy.rint(255 * (file["golden/input"][()] * std + mean))
        return pixels.astype(numpy.float32), file["golden/logits"][()]


def check(logits, run):
    """At most 1e-4, of the largest logit where that exceeds 1. A layer's sum of n products
    in another order differs by about sqrt(n) * 6e-8 of its size."""
    want = golden(run)[1]
    assert logits.shape == want.shape and logits.dtype == numpy.float32
    assert numpy.abs(logits - want).max() <= 1e-4 * max(1, numpy.abs(want).max())
