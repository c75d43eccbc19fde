"""Random graphs train as in PyTorch: the plan's order, tiles and sharing of memory are right.

PARITY_SEED chooses other graphs, PARITY_GRAPHS how many. A failure's message has the whole config.
A gradient jumps where an activation or a maximum has a kink: where rounding could tip a value over
one, no two programs need agree, and the graph gets other images.
"""
import os
import random

import pytest

for module in ("h5py", "torch"):
    pytest.importorskip(module)

from graphs import Graph
from training import Comparison, EPS, Sample

SEED = int(os.environ.get("PARITY_SEED", 1))
GRAPHS = int(os.environ.get("PARITY_GRAPHS", 60))
GRAPHS_TRIED, IMAGES_TRIED = 20, 2

TRAIN = """\
[train]
epochs = 1
batch = {batch}
lr = 0.03
momentum = 0.9
clip_norm = 2

"""


def comparison(colonnade, folder, seed):
    """Of the first of the seed's graphs that some images keep clear of its kinks."""
    for attempt in range(GRAPHS_TRIED * IMAGES_TRIED):
        graph = Graph(random.Random(f"{seed} {attempt // IMAGES_TRIED}"))
        body = TRAIN.format(batch=graph.batch) + graph.text()
        train = 2 * graph.batch + max(2, graph.batch // 2)  # the last mini-batch is short
        sample = Sample(folder, graph.shape, graph.classes, train, graph.batch + 3, seed=attempt)
        made = Comparison(colonnade, folder, sample, body, graph.threads, attempt + 1, draws=2)
        if made.train_truth() > 64 * EPS:
            return made
    pytest.fail(f"seed {seed}: whatever the images, a value is at a kink")


@pytest.mark.parametrize("index", range(GRAPHS))
def test_random_graph(colonnade, tmp_path, index):
    seed = 1000 * SEED + index
    print(f"seed {seed}")
    made = comparison(colonnade, tmp_path, seed)
    made.check_training()
    made.check_evaluation()
