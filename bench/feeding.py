#!/usr/bin/env python3
"""How much of its speed on synthetic data a network keeps when it is fed from a folder of images.

    bench/feeding.py FOLDER                        resnet18-cifar, all augmentation on
    bench/feeding.py FOLDER configs/bench/resnet18.ini --size 224x224

FOLDER holds train/CLASS/* and test/CLASS/*. The same steps are trained on synthetic data, on the
folder kept in memory, and on the folder streamed from its files, in turn. It needs as many images
as an epoch has, and they have to take more memory than MEMORY to be streamed. Figures are medians
over the rounds, of the images a second of all epochs, with the waiting for data in them; ratios are
of one round.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
AUGMENTATION = {"flip": "horizontal", "crop": 4, "rotate": 15, "scale": 0.2, "translate": 0.1,
                "brightness": 0.2, "contrast": 0.2, "erase": 0.25, "mixup": 0.2}
MEMORY = 1  # MB of images kept where they are streamed


def without_data(config):
    """The config's text but [data], whose keys are another source's."""
    kept, inside = [], False
    for line in config.read_text().splitlines():
        if line.startswith("["):
            inside = line.strip() == "[data]"
        if not inside:
            kept.append(line)
    return "\n".join(kept) + "\n"


def last_node(config):
    return re.findall(r"^\[(.+)\]", config.read_text(), re.MULTILINE)[-1]


def section(name, keys):
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def make_folder(folder, images):
    """Noise, for --smoke."""
    for split in ("train", "test"):
        for label in ("a", "b"):
            (folder / split / label).mkdir(parents=True)
            for i in range(images // 2):
                pixels = os.urandom(3 * 64 * 64)
                (folder / split / label / f"{i}.ppm").write_bytes(b"P6 64 64 255\n" + pixels)


def configs(options):
    folder = {"source": "folder", "path": options.folder.resolve(), "size": options.size,
              "channels": options.channels, "limit_train": options.images}
    synthetic = {"source": "synthetic", "shape": f"{options.channels}x{options.size}",
                 "classes": options.classes, "count": options.images}
    rest = without_data(options.config)
    augmented = section("augment", AUGMENTATION) + rest
    return {"synthetic": section("data", synthetic) + rest,
            "memory": section("data", folder) + augmented,
            "streamed": section("data", folder | {"memory": MEMORY}) + augmented}


def train(options, path):
    environment = {key: value for key, value in os.environ.items()
                   if key not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    command = [options.colonnade, "train", path, "--json", "--quiet",
               "--out", path.with_suffix(".h5"), "--threads", str(options.threads),
               "--set", f"train.epochs={options.epochs}",
               "--set", f"{last_node(options.config)}.units=classes"]
    output = subprocess.run(command, env=environment, check=True, text=True,
                            stdout=subprocess.PIPE).stdout
    events = [json.loads(line) for line in output.splitlines()]
    epochs = [event for event in events if event["event"] == "epoch"]
    seconds = sum(options.images / event["images_per_second"] for event in epochs)
    return len(epochs) * options.images / seconds, events[-1]["data_wait_seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, nargs="?")
    parser.add_argument("config", type=pathlib.Path, nargs="?",
                        default=ROOT / "configs/bench/resnet18-cifar.ini")
    parser.add_argument("--size", default="32x32")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--images", type=int, default=768, help="an epoch (default: 768)")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--colonnade", default=ROOT / "build" / "colonnade")
    parser.add_argument("--smoke", action="store_true", help="one round of noise: it works")
    options = parser.parse_args()
    if not options.smoke and not options.folder:
        parser.error("FOLDER is missing")

    with tempfile.TemporaryDirectory() as scratch:
        if options.smoke:
            options.config, options.size = ROOT / "configs/bench/lenet5.ini", "64x64"
            options.images, options.epochs, options.rounds = 128, 1, 1
            options.folder = pathlib.Path(scratch) / "images"
            make_folder(options.folder, options.images)
        height, width = map(int, options.size.split("x"))
        if options.images * options.channels * height * width <= MEMORY * 10**6:
            parser.error(f"{options.images} images of {options.size} fit into {MEMORY} MB: streaming "
                         "needs more of them")
        if sum(1 for _ in (options.folder / "train").glob("*/*")) < options.images:
            parser.error(f"{options.folder} has fewer than {options.images} training images")
        options.classes = sum(entry.is_dir() for entry in (options.folder / "train").iterdir())
        results = {name: [] for name in configs(options)}
        for turn in range(options.rounds):
            for name, text in configs(options).items():
                path = pathlib.Path(scratch) / f"{name}.ini"
                path.write_text(text)
                results[name].append(train(options, path))
            rates = ", ".join(f"{name} {rounds[-1][0]:.1f}" for name, rounds in results.items())
            print(f"round {turn + 1}: {rates} images/s", file=sys.stderr)
    for name, rounds in results.items():
        ratios = [mine[0] / synthetic[0] for mine, synthetic in zip(rounds, results["synthetic"])]
        print(f"{name:9} {statistics.median(rate for rate, _ in rounds):7.1f} images/s, "
              f"{100 * statistics.median(ratios):5.1f} % of synthetic "
              f"({100 * min(ratios):.1f} - {100 * max(ratios):.1f}), "
              f"waited {statistics.median(wait for _, wait in rounds):.3f} s")


if __name__ == "__main__":
    main()
