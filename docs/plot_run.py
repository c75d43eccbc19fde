"""Looks at a run with nothing but h5py and matplotlib: curves, filters, confusion matrix.

    python3 docs/plot_run.py runs/lenet5-fashion.h5

writes a PNG of each beside the run file. What the run has nothing for is said and left out: before it
has ended there is no confusion matrix, and without a convolution there are no filters. The `# %%` lines make cells of it in editors that know
notebooks.
"""
# %% The file: its attributes say what it is, its groups hold the rest.
import pathlib
import sys

import h5py
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

path = pathlib.Path(sys.argv[1])
run = h5py.File(path)
classes = run["data/classes"].asstr()[()]
print(f"{path}: {run.attrs['status']}, {len(classes)} classes")


def save(figure, what):
    figure.tight_layout()
    figure.savefig(path.with_name(f"{path.stem}-{what}.png"), dpi=120)


# %% Curves: a dataset a column, the epoch's number among them.
epochs = run["metrics/epoch"]
if len(epochs["epoch"]) == 0:
    print("no curves: no epoch has ended")
else:
    figure, (loss, accuracy) = plt.subplots(1, 2, figsize=(9, 3.5))
    for axes, quantity in (loss, "loss"), (accuracy, "accuracy"):
        for part in "train", "val":  # without a validation part its column is all NaN
            axes.plot(epochs["epoch"][()], epochs[f"{part}_{quantity}"][()], label=part)
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"{quantity} ({epochs[f'train_{quantity}'].attrs['units']})")
        axes.legend()
    save(figure, "curves")

# %% Filters: the first weights of four dimensions, [filters, channels, kh, kw].
kernels = next((weights[()] for weights in run["state_dict"].values() if weights.ndim == 4), None)
if kernels is None:
    print("no filters: the network has no convolution")
else:
    columns = min(len(kernels), 8)
    rows = -(-len(kernels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(columns, rows), squeeze=False)
    for cell in axes.flat:
        cell.axis("off")
    for cell, kernel in zip(axes.flat, kernels):
        limit = abs(kernel).max() or 1
        if len(kernel) == 3:  # channels are colours
            cell.imshow(0.5 + kernel.transpose(1, 2, 0) / (2 * limit))
        else:
            cell.imshow(kernel[0], cmap="RdBu", vmin=-limit, vmax=limit)
    save(figure, "filters")

# %% Confusion: a row is the true class, a column the predicted one.
if "evaluation/test" not in run:
    print("no confusion matrix: the test images have not been scored")
else:
    confusion = run["evaluation/test/confusion"][()]
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(6, 5.5))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for (row, column), count in np.ndenumerate(confusion):
        axes.text(column, row, count, ha="center", va="center",
                  color="white" if share[row, column] > 0.5 else "black")
    axes.set_title(f"test accuracy {run['evaluation/test'].attrs['accuracy']:.2%}")
    save(figure, "confusion")
