"""Every config of configs/bench and configs/networks is the network that PyTorch builds from it.

What `summary` counts is compared with PyTorch node by node: parameters with its tensors, and
multiply-adds with a hook's count on the convolutions and dense layers, both to the last digit.
"""
import json
import pathlib
import subprocess

import pytest

torch = pytest.importorskip("torch")

from network import Network, parse

CONFIGS = sorted(path for folder in ("bench", "networks") for path in
                 (pathlib.Path(__file__).parents[2] / "configs" / folder).glob("*.ini"))
each_config = pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)

PUBLISHED = {  # parameters as others count them, with ten classes but for resnet18's thousand
    "lenet5": 61_706,
    "resnet18": 11_689_512,
    "resnet18-cifar": 11_173_962,
    "densenet": 176_122,
    "squeezenet": 727_626,
    "mobilenetv2": 2_236_682,
    "all-cnn": 1_369_738,
}


def run(program, verb, config, *arguments):
    """The JSON objects that the program prints, one a line."""
    result = subprocess.run([program, verb, str(config), "--json", *arguments],
                            capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def summarize(program, config):
    return run(program, "summary", config)[0]


def build(config):
    text = config.read_text()
    data = parse(text)["data"]
    shape = tuple(int(number) for number in data["shape"].split("x"))
    return Network(text, shape, int(data["classes"]))


def parameters(module):
    return sum(tensor.numel() for tensor in module.parameters())


def count_macs(network):
    """{node: multiply-adds of one image}, as hooks see them."""
    macs = dict.fromkeys(network.nodes, 0)

    def hook(name):
        def count(module, _, y):  # every output is a sum over one row, or one filter, of weights
            macs[name] += y[0].numel() * module.weight[0].numel()
        return count

    for name in network.nodes:
        module = network.get_submodule(name)
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(hook(name))
    with torch.no_grad():
        network.eval()(torch.zeros(1, *network.shapes["input"]))
    return macs


def test_there_are_configs():
    assert set(PUBLISHED) <= {config.stem for config in CONFIGS}


@each_config
def test_summary_counts_what_pytorch_counts(colonnade, config):
    ours, network = summarize(colonnade, config), build(config)
    macs = count_macs(network)
    found = {node["name"]: (tuple(node["shape"]), node["parameters"], node["macs"])
             for node in ours["nodes"]}
    assert found == {name: (network.shapes[name], parameters(network.get_submodule(name)),
                            macs[name]) for name in network.nodes}
    assert ours["parameters"] == parameters(network)
    assert ours["macs"] == sum(macs.values())


@pytest.mark.parametrize("name, count", PUBLISHED.items())
def test_a_known_network_has_its_known_number_of_parameters(colonnade, name, count):
    config, = (config for config in CONFIGS if config.stem == name)
    assert summarize(colonnade, config)["parameters"] == count


def test_the_perceptron_has_as_many_parameters_as_the_typical_cnn(colonnade):
    counts = {config.stem: summarize(colonnade, config)["parameters"] for config in CONFIGS
              if config.stem in ("mlp", "typical")}
    assert counts["mlp"] == counts["typical"]
