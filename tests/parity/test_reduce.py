"""The reducer finds what a failure needs, and a failing graph's message shows a config that fails.
"""
import ast
import random
import re
import stat
import sys

import pytest

for module in ("h5py", "torch"):
    pytest.importorskip(module)

from graphs import Case, Graph
from network import parse
from reduce import STAGES, candidates, reduce
from training import Comparison, Sample
from test_random_graphs import Unfit, build, check_or_reduce

LARGE = Case(
    shape=(6, 9, 7), classes=5, batch=7, images=17, seed=3, threads=4,
    train={"optimizer": "adam", "lr": 0.01, "clip_norm": 2},
    nodes=[
        ["relu1", {"type": "relu"}, ["stem"]],
        ["stem", {"type": "conv", "filters": 12, "kernel": "3x3", "padding": "same",
                  "activation": "gelu"}, ["input"]],
        ["grouped", {"type": "conv", "filters": 8, "kernel": "3x2", "padding": "1, 0, 0, 1",
                     "groups": "4", "bias": "false"}, ["relu1"]],
        ["norm", {"type": "layernorm", "eps": "1e-3"}, ["grouped"]],
        ["sum", {"type": "add"}, ["norm", "grouped", "grouped"]],
        ["pool", {"type": "avgpool", "kernel": 3, "stride": "2x1", "padding": 1, "ceil": "true"},
         ["sum"]],
        ["flat", {"type": "flatten"}, ["pool"]],
        ["other", {"type": "dense", "units": 5, "bias": "false"}, ["relu1"]],
        ["fc", {"type": "dense", "units": "classes"}, ["flat"]],
        ["join", {"type": "add"}, ["fc", "other"]],
    ])


def is_network(case):
    try:
        build(case)
    except Unfit:
        return False
    return True


def test_only_what_the_failure_needs_is_left():
    def fails(case):
        def grouped_above(name):
            return any(keys.get("groups", "1") != "1" or any(map(grouped_above, sources))
                       for other, keys, sources in case.nodes if other == name)
        return is_network(case) and case.train.get("optimizer") == "adam" and any(
            keys["type"] == "avgpool" and keys.get("ceil") == "true" and grouped_above(name)
            for name, keys, _ in case.nodes)

    assert fails(LARGE)
    smallest, tries = reduce(LARGE, fails)
    assert fails(smallest) and 0 < tries < 1000
    conv, pool = smallest.nodes  # whose two channels are the logits
    assert conv == ["grouped", {"type": "conv", "filters": "2", "kernel": "1x1", "groups": "2"},
                    ["input"]]
    assert pool == ["pool", {"type": "avgpool", "kernel": "1", "ceil": "true"}, ["grouped"]]
    assert smallest.train == {"optimizer": "adam"}
    assert (smallest.shape, smallest.classes, smallest.batch, smallest.images,
            smallest.threads) == ((2, 1, 1), 2, 1, 1, 1)


def test_a_join_that_is_needed_stays():
    def fails(case):
        return is_network(case) and any(len(sources) == 2 for _, _, sources in case.nodes)

    smallest, _ = reduce(LARGE, fails)
    assert [(keys["type"], sources) for _, keys, sources in smallest.nodes] == [
        ("add", ["input", "input"]), ("dense", ["sum"])]


def test_what_always_fails_becomes_one_node():
    for seed in range(20):
        smallest, _ = reduce(Graph(random.Random(seed)).case(1), is_network)
        assert len(smallest.nodes) == 1 and smallest.shape == (1, 1, 1)


def test_what_fails_alone_stays_as_it_is():
    before = LARGE.copy()
    assert reduce(LARGE, lambda case: False)[0] is LARGE
    assert before == LARGE


def test_every_candidate_is_another_case():
    for seed in range(20):
        case = Graph(random.Random(seed)).case(1)
        assert case not in candidates(case, sum(STAGES, ()))


def test_the_time_is_kept():
    smallest, tries = reduce(LARGE, lambda case: True, seconds=0)
    assert smallest is LARGE and tries == 0


# A program whose lrn is wrong where a batch norm stands in the same graph.
SABOTAGE = """\
#!{python}
import re, subprocess, sys
code = subprocess.run([{program!r}, *sys.argv[1:]]).returncode
text = open(sys.argv[2]).read()
if code == 0 and "type = lrn" in text:
    if {status}:
        sys.exit({status})
    if "type = batchnorm" in text:
        import h5py
        with h5py.File(re.search("output = (.*)", text)[1], "r+") as file:
            weight = file["state_dict"][sorted(file["state_dict"])[0]]
            weight[...] = weight[()] * 1.001
sys.exit(code)
"""


@pytest.mark.parametrize("status, kinds", [(0, ["batchnorm", "dense", "lrn"]), (3, ["dense", "lrn"])])
def test_the_message_shows_a_small_config_that_fails(colonnade, tmp_path, status, kinds):
    program = tmp_path / "sabotaged"
    program.write_text(SABOTAGE.format(python=sys.executable, program=colonnade, status=status))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    case = LARGE.copy()
    case.nodes[3:3] = [["lrn1", {"type": "lrn", "size": 3, "k": 2}, ["grouped"]],
                       ["bn", {"type": "batchnorm", "eps": "1e-3"}, ["lrn1"]]]
    case.nodes[5][2] = ["bn"]  # norm's input
    with pytest.raises(AssertionError) as failure:
        check_or_reduce(program, tmp_path, case, seconds=600)
    message = str(failure.value)
    assert ("exit status 3" in message) == (status == 3)
    assert f"from 12 nodes to {len(kinds)}" in message

    text = message[message.index("[run]"):].rsplit("\n", 1)[0]
    nodes = {name: keys for name, keys in parse(text).items() if "type" in keys}
    assert sorted(keys["type"] for keys in nodes.values()) == kinds
    size, classes, seed = re.search(r"images of (\(.*\)) .*, (\d) classes, seed (\d+)",
                                    message).groups()
    shown = Comparison(program, tmp_path, Sample(
        tmp_path, ast.literal_eval(size), int(classes), int(re.search(r"(\d+) images", message)[1]),
        seed=int(seed)), text[text.index("[train]"):].replace("init_from", "; init_from"))
    with pytest.raises(AssertionError):
        shown.check()
