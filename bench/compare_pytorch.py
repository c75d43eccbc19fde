#!/usr/bin/env python3
"""Times training and inference of configs in PyTorch and in colonnade, in turn, in one run.

    bench/compare_pytorch.py                          the five standard models
    bench/compare_pytorch.py configs/networks/*.ini   others, with synthetic data

PyTorch's network is the one that the parity tests compare with, built from the config's text.

Every measurement is a process of its own, and the sides take turns (A B C A B C ...): a machine's
clock drifts, and both sides should see the same weather. Figures are medians over the rounds; the
ratio is the median of each round's ratio to the best of PyTorch's layouts in that round. Inputs are
random, never zeros, on which pooling's branches would predict perfectly.

OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are unset for both sides. Where PyTorch's OpenBLAS does not
know the CPU and takes slow kernels, --pytorch-coretype gives it others.
"""
import argparse
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "parity"))  # for workers alone: it needs PyTorch
MODELS = [ROOT / "configs" / "bench" / f"{name}.ini"
          for name in ("lenet5", "typical", "vgg-cifar", "resnet18-cifar", "resnet18")]
OURS = "colonnade"
LAYOUTS = ("contiguous", "channels_last", "compile")
CHUNK_SECONDS = 0.2  # a worker's rate is the median over chunks of steps


# PyTorch's side: runs in a process of its own, `--worker`.

def blas_of_process():
    """The BLAS that this process has loaded, and OpenBLAS's kernel."""
    import ctypes
    libraries = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
    for path in sorted(libraries):
        if "openblas" not in path and "libblas" not in path:
            continue
        try:
            function = ctypes.CDLL(path).openblas_get_corename
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_char_p
        return f"OpenBLAS {function().decode()}"
    import torch
    return "MKL" if torch.backends.mkl.is_available() else "unknown"


def make_step(model, batches, train_keys):
    """train_keys: the config's [train], or None for inference."""
    import torch
    if train_keys is None:
        model.eval()

        def infer(index):
            with torch.no_grad():
                model(batches[index % len(batches)][0])
        return infer
    from network import make_optimizer
    optimizer = make_optimizer(model, train_keys)
    loss_function = torch.nn.CrossEntropyLoss()

    def train(index):
        x, labels = batches[index % len(batches)]
        optimizer.zero_grad()
        loss = loss_function(model(x), labels)
        loss.backward()
        optimizer.step()
        loss.item()
    return train


def measure_rate(step, batch, seconds):
    """Images a second: the median over chunks, after some steps of warming up."""
    done, rates = 1, []
    warm = time.monotonic() + 0.3
    while time.monotonic() < warm or done < 3:
        step(done)
        done += 1
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(rates) < 3:
        start, first = time.monotonic(), done
        while time.monotonic() < start + CHUNK_SECONDS or done == first:
            step(done)
            done += 1
        rates.append((done - first) * batch / (time.monotonic() - start))
    return statistics.median(rates)


def work(options):
    import torch
    from network import Network, parse
    config, layout = options.configs[0].read_text(), options.worker
    sections = parse(config)
    data, keys = sections["data"], sections["train"]
    if data["source"] != "synthetic":
        sys.exit(f"{options.configs[0]}: only synthetic data say their shape in the config")
    shape, classes = tuple(map(int, data["shape"].split("x"))), int(data["classes"])
    batch = int(keys.get("batch", 64))
    torch.manual_seed(1)
    torch.set_num_threads(options.threads)
    form = torch.contiguous_format if layout == "contiguous" else torch.channels_last
    model = Network(config, shape, classes).train().to(memory_format=form)
    if layout == "compile":
        model = torch.compile(model)
    batches = [(torch.randn(batch, *shape).to(memory_format=form),
                torch.randint(0, classes, (batch,))) for _ in range(4)]
    step = make_step(model, batches, None if options.inference else keys)
    step(0)
    first = time.monotonic()
    rate = measure_rate(step, batch, options.seconds)
    print(json.dumps({
        "images_per_second": rate, "first_step_at": first, "blas_kernel": blas_of_process(),
        "version": f"PyTorch {torch.__version__}", "threads": torch.get_num_threads(),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


# The comparison: starts processes, alone.

def environment(coretype=None):
    kept = {key: value for key, value in os.environ.items()
            if key not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OMP_NUM_THREADS")}
    return kept if coretype is None else {**kept, "OPENBLAS_CORETYPE": coretype}


def run(command, coretype=None):
    """Standard output's last line, as JSON."""
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                            env=environment(coretype))
    if result.returncode != 0:
        lines = (result.stderr.strip() or "no message").splitlines()
        raise RuntimeError(lines[-1])
    return json.loads(result.stdout.splitlines()[-1])


def run_pytorch(options, config, inference, layout):
    command = [options.python, __file__, config, "--worker", layout, "--seconds", options.seconds,
               "--threads", options.threads]
    start = time.monotonic()
    figures = run(command + ["--inference"] * inference, options.pytorch_coretype)
    figures["first_step_seconds"] = figures.pop("first_step_at") - start
    return figures


def first_step_seconds(options, config, batch):
    """From the start of a run of one step to its end: a test image and the run file included."""
    with tempfile.TemporaryDirectory() as folder:
        sets = [f"run.output={folder}/run.h5", "train.max_steps=1", "data.limit_test=1",
                f"data.count={batch}"]
        command = [options.colonnade, "train", config, "--json", "--threads", options.threads]
        start = time.monotonic()
        run(command + [word for item in sets for word in ("--set", item)])
        return time.monotonic() - start


def run_colonnade(options, config, inference):
    command = [options.colonnade, "bench", config, "--threads", options.threads, "--seconds",
               options.seconds, "--json"]
    figures = run(command + ["--inference"] * inference)
    figures.pop("nodes")
    figures["version"] = subprocess.run([options.colonnade, "--version"], capture_output=True,
                                        text=True, check=True).stdout.strip()
    if not inference:
        figures["first_step_seconds"] = first_step_seconds(options, config, figures["batch"])
    return figures


def middle(rounds, key):
    values = [figures[key] for figures in rounds if key in figures]
    return statistics.median(values) if values else None


def compare(options, config, inference):
    """All rounds of a config; {side: [figures of a round]}, and the sides that failed."""
    sides = {OURS: lambda: run_colonnade(options, config, inference)}
    for layout in options.layouts:
        sides[f"pytorch {layout}"] = (
            lambda layout=layout: run_pytorch(options, config, inference, layout))
    rounds, failures = {side: [] for side in sides}, {}
    for turn in range(options.rounds):
        for side, measure in sides.items():
            if side in failures:
                continue
            try:
                rounds[side].append(measure())
            except (RuntimeError, OSError, ValueError, KeyError, IndexError) as error:
                failures[side] = str(error)
                rounds[side] = []
        print(f"{config.stem}: round {turn + 1} of {options.rounds}", file=sys.stderr)
    return rounds, failures


def summarize(config, inference, rounds, failures):
    result = {"model": config.stem, "mode": "inference" if inference else "train", "sides": {},
              "failures": failures}
    for side, figures in rounds.items():
        if not figures:
            continue
        rates = [round_["images_per_second"] for round_ in figures]
        result["sides"][side] = {
            "images_per_second": statistics.median(rates), "lowest": min(rates),
            "highest": max(rates), "peak_rss_bytes": middle(figures, "peak_rss_bytes"),
            "first_step_seconds": None if inference else middle(figures, "first_step_seconds"),
            "blas_kernel": figures[0]["blas_kernel"], "version": figures[0]["version"],
            "threads": figures[0]["threads"]}
    peers = [figures for side, figures in rounds.items() if side != OURS and figures]
    if peers and rounds[OURS]:
        ratios = [ours["images_per_second"] / max(peer["images_per_second"] for peer in others)
                  for ours, *others in zip(rounds[OURS], *peers)]
        result["ratio"] = {"median": statistics.median(ratios), "lowest": min(ratios),
                           "highest": max(ratios)}
    return result


def table(results):
    """Markdown."""
    lines = ["| model | mode | side | images/s | lowest - highest | to PyTorch's best | peak MB "
             "| first step s |", "| --- | --- | --- | --: | --: | --: | --: | --: |"]
    for result in results:
        for side, figures in result["sides"].items():
            ratio, first = result.get("ratio"), figures["first_step_seconds"]
            cells = [
                result["model"], result["mode"], side, f"{figures['images_per_second']:,.0f}",
                f"{figures['lowest']:,.0f} - {figures['highest']:,.0f}",
                "{median:.2f} ({lowest:.2f} - {highest:.2f})".format(**ratio)
                if ratio and side == OURS else "",
                f"{figures['peak_rss_bytes'] / 1e6:,.0f}", f"{first:.2f}" if first else ""]
            lines.append(f"| {' | '.join(cells)} |")
        for side, message in result["failures"].items():
            lines.append(f"| {result['model']} | {result['mode']} | {side} | failed: {message} "
                         "| | | | |")
    return "\n".join(lines)


def short_table(results):
    """Markdown, a row a model and mode: Colonnade beside the faster of PyTorch's sides, as in the
    README. Memory and the first step are of that same side."""
    lines = ["| model | mode | Colonnade | PyTorch | side | ratio (lowest - highest) | peak MB "
             "| first step s |", "| --- | --- | --: | --: | --- | --: | --: | --: |"]
    for result in results:
        peers = {side: figures for side, figures in result["sides"].items() if side != OURS}
        if "ratio" not in result:
            continue
        ours = result["sides"][OURS]
        side, peer = max(peers.items(), key=lambda item: item[1]["images_per_second"])
        first = ours["first_step_seconds"], peer["first_step_seconds"]
        cells = [
            result["model"], result["mode"], f"{ours['images_per_second']:,.0f}",
            f"{peer['images_per_second']:,.0f}", side.removeprefix("pytorch "),
            "{median:.2f} ({lowest:.2f} - {highest:.2f})".format(**result["ratio"]),
            f"{ours['peak_rss_bytes'] / 1e6:,.0f} : {peer['peak_rss_bytes'] / 1e6:,.0f}",
            f"{first[0]:.2f} : {first[1]:.1f}" if all(first) else ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def machine():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def heading(options, results):
    """What the figures were taken with."""
    lines = [f"{machine()}, {os.cpu_count()} cores, {options.threads} threads, "
             f"{options.rounds} rounds of {options.seconds:g} s in turn"]
    sides = {side: figures for result in results for side, figures in result["sides"].items()}
    for side, figures in sides.items():
        lines.append(f"{side}: {figures['version']}, BLAS kernel {figures['blas_kernel']}, "
                     f"{figures['threads']} threads")
    load = os.getloadavg()[0]
    if load > 1.5 * options.threads:
        lines.append(f"the machine is busy (load {load:.1f}): do not trust these figures")
    return "\n".join(lines) + "\n"


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("configs", nargs="*", type=pathlib.Path, default=MODELS, metavar="CONFIG",
                        help="with synthetic data (default: the five standard models)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a measurement")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--colonnade", default=str(ROOT / "build" / "colonnade"), metavar="PATH")
    parser.add_argument("--python", default=sys.executable, metavar="PATH",
                        help="the interpreter that has PyTorch")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS,
                        help="PyTorch's sides (default: all that it has)")
    parser.add_argument("--pytorch-coretype", metavar="NAME", help="OPENBLAS_CORETYPE for PyTorch")
    parser.add_argument("--training", action="store_true", help="training alone")
    parser.add_argument("--inference", action="store_true", help="inference alone")
    parser.add_argument("--short", action="store_true",
                        help="a row a model, beside the faster of PyTorch's sides")
    parser.add_argument("--json", action="store_true", help="one JSON object a model and mode")
    parser.add_argument("--smoke", action="store_true", help="one tiny round of lenet5: it works")
    parser.add_argument("--worker", choices=LAYOUTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rounds < 1 or options.threads < 1 or options.seconds <= 0:
        parser.error("rounds, threads and seconds must be above 0")
    if options.smoke:
        options.configs, options.rounds, options.seconds = MODELS[:1], 1, 0.2
    return options


def main():
    options = parse_options()
    if options.worker:
        return work(options)
    question = "import sys, torch; sys.exit(0 if hasattr(torch, 'compile') else 3)"
    has_compile = subprocess.run([options.python, "-c", question], capture_output=True, text=True,
                                 env=environment())
    if has_compile.returncode not in (0, 3):
        sys.exit(f"{options.python} has no PyTorch: {has_compile.stderr.strip().splitlines()[-1]}")
    options.layouts = [layout for layout in options.layouts
                       if layout != "compile" or has_compile.returncode == 0]
    both = options.training == options.inference
    modes = [inference for inference, wanted in ((False, options.training),
                                                 (True, options.inference)) if wanted or both]
    results = [summarize(config, inference, *compare(options, config, inference))
               for config in options.configs for inference in modes]
    if options.json:
        for result in results:
            print(json.dumps({"machine": machine(), "rounds": options.rounds, **result}))
    else:
        print(heading(options, results))
        print(short_table(results) if options.short else table(results))
    return 1 if any(result["failures"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
