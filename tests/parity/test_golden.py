"""The samples in a run file, through PyTorch with the file's weights: what the file says comes out.
With h5py and the one line of docs/run-file.md."""
import pathlib
import subprocess

import pytest

for module in ("h5py", "torch"):
    pytest.importorskip(module)

import h5py
import torch

from network import Network

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("name", ["bench/lenet5", "bench/resnet18-cifar", "networks/mobilenetv2",
                                  "networks/densenet"])
def test_golden_logits_come_out_of_pytorch(colonnade, tmp_path, name):
    path, config = tmp_path / "run.h5", CONFIGS / f"{name}.ini"
    subprocess.run([colonnade, "train", config, "--quiet", "--out", path, "--set", "data.count=32",
                    "--set", "train.batch=8", "--set", "train.max_steps=3"], check=True,
                   capture_output=True)
    with h5py.File(path) as run:
        model = Network(config.read_text(), tuple(run["data/classes"].attrs["shape"]),
                        len(run["data/classes"]))
        model.load_state_dict({k: torch.from_numpy(v[()]) for k, v in run["state_dict"].items()})
        pixels, logits = (torch.from_numpy(run["golden"][key][()]) for key in ("input", "logits"))
    with torch.no_grad():
        found = model.eval()(pixels)
    assert len(logits) == 8
    assert (found - logits).abs().max() <= 1e-4 * max(1, logits.abs().max())
