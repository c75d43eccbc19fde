"""Random graphs train as in PyTorch: every node type and key, and the plan's order, tiles and
sharing of memory, with every optimizer.

PARITY_SEED chooses other graphs, PARITY_GRAPHS how many. A gradient jumps where an activation or a
maximum has a kink: where rounding could tip a value over one, no two programs need agree, and the
graph gets other images. A failing graph is made smaller as long as it fails in the same way; what
is left stands in the message, whole, as a config.
"""
import os
import pathlib
import random
import re

import pytest

for module in ("h5py", "torch"):
    pytest.importorskip(module)

from graphs import ACTIVATIONS, INITIALIZERS, Graph
from network import Network
from reduce import reduce
from training import Comparison, EPS, ProgramFailed, Sample

SEED = int(os.environ.get("PARITY_SEED", 1))
GRAPHS = int(os.environ.get("PARITY_GRAPHS", 240))
GRAPHS_TRIED, IMAGES_TRIED = 20, 2
DOCUMENTATION = pathlib.Path(__file__).parents[2] / "docs" / "config.md"


class Unfit(Exception):
    """No network, or one on which two programs need not agree."""


def build(case):
    try:
        shape = Network(case.text(), case.shape, case.classes).shapes[case.nodes[-1][0]]
    except Exception as error:  # whatever PyTorch says of what cannot be
        raise Unfit(str(error)) from error
    if shape != (case.classes, 1, 1):
        raise Unfit("gives no logits")


def check(program, folder, case):
    build(case)
    sample = Sample(folder, case.shape, case.classes, case.images, case.batch + 3, case.seed)
    made = Comparison(program, folder, sample, case.text(), case.threads, case.seed, draws=2)
    try:
        margin = made.train_truth()
    except (ValueError, RuntimeError) as error:  # batch norm of a single value; nothing to train
        raise Unfit(str(error)) from error
    if not margin > 64 * EPS:  # not a number: no network either
        raise Unfit("a value is at a kink")
    made.check_training()
    made.check_evaluation()


def kind(error):
    return error.status if isinstance(error, ProgramFailed) else "other numbers"


def check_or_reduce(program, folder, case, seconds=120):
    try:
        check(program, folder, case)
        return
    except AssertionError as error:
        found = last = error  # of the smallest case that failed

    def fails(smaller):
        nonlocal last
        try:
            check(program, folder, smaller)
        except AssertionError as error:
            if kind(error) == kind(found):
                last = error
                return True
        except Unfit:
            pass
        return False

    smallest, tries = reduce(case, fails, seconds)
    raise AssertionError(f"{last}\n{smallest.images} images of {smallest.shape} to train on, "
                         f"{smallest.classes} classes, seed {smallest.seed}; reduced in {tries} "
                         f"tries from {len(case.nodes)} nodes to {len(smallest.nodes)}") from None


def cases(seed):
    """Graphs of a seed, with some images each, until one is fit."""
    for attempt in range(GRAPHS_TRIED):
        graph = Graph(random.Random(f"{seed} {attempt}"))
        first = graph.case(1)
        for images in range(IMAGES_TRIED):
            case = first.copy()
            case.seed = 1 + attempt * IMAGES_TRIED + images
            yield case


@pytest.mark.parametrize("index", range(GRAPHS))
def test_random_graph(colonnade, tmp_path, index):
    seed = 1000 * SEED + index
    print(f"seed {seed}")
    for case in cases(seed):
        try:
            check_or_reduce(colonnade, tmp_path, case)
            return
        except Unfit:
            pass
    pytest.fail(f"seed {seed}: whatever the images, a value is at a kink")


def documented_types():
    """{type: keys}, from the headings and tables of the nodes' documentation."""
    types, names = {}, []
    nodes = DOCUMENTATION.read_text().split("\n## Nodes", 1)[1].split("\n## ", 1)[0]
    for line in nodes.splitlines():
        if line.startswith("###"):
            names = re.findall(r"`(\w+)`", line)
            types |= {name: set() for name in names}
        elif key := re.match(r"\| `(\w+)` \|", line):
            for name in names:
                types[name].add(key[1])
    return types


def test_the_graphs_have_every_node_type_key_and_choice():
    types = documented_types()
    assert len(types) >= 24 and {"kernel", "groups"} <= types["conv"]
    nodes = [keys for index in range(240) for _, keys, _ in next(cases(1000 + index)).nodes]
    for name, wanted in types.items():
        found = {key for keys in nodes if keys["type"] == name for key in keys}
        assert wanted - {"init"} <= found, f"{name} never has {wanted - found}"
    for key, choices in (("activation", (*ACTIVATIONS, "none")), ("init", INITIALIZERS),
                         ("padding", ("valid", "same", "same_lower"))):
        for kind in ("conv", "dense") if key != "padding" else ("conv", "maxpool", "avgpool"):
            found = {keys[key] for keys in nodes if keys["type"] == kind and key in keys}
            assert set(choices) <= found, f"{kind}: {key}"
