"""What the verbs that look at a run or a config print."""
import re
import time

import pytest

h5py = pytest.importorskip("h5py")

from conftest import CONFIG


def test_eval_has_the_keys_of_the_contract_and_agrees_with_training(trained):
    done = trained.json("train", "small.ini", "--resume")[-1]
    [result] = trained.json("eval", "small.h5")
    assert result["count"] == 64
    assert result["loss"] == done["test_loss"]
    assert result["accuracy"] == done["test_accuracy"]
    assert result["top5"] == 1  # of four classes
    assert len(result["classes"]) == 4
    for row, item in zip(result["confusion"], result["classes"]):
        assert set(item) >= {"name", "precision", "recall", "f1", "count"}
        assert item["count"] == sum(row)
    hits = sum(result["confusion"][i][i] for i in range(4))
    assert hits / result["count"] == pytest.approx(result["accuracy"])


def test_eval_prints_a_table(trained):
    text = trained.run("eval", "small.h5").stdout
    assert text.startswith("64 images: accuracy ")
    assert "precision" in text and "Confusion" in text


def test_eval_lets_data_keys_be_set_alone(trained):
    [result] = trained.json("eval", "small.h5", "--set", "data.limit_test=10")
    assert result["count"] == 10
    message = trained.run("eval", "small.h5", "--set", "train.batch=1", status=2).stderr
    assert "train.batch" in message


def test_eval_refuses_data_of_another_shape(trained):
    message = trained.run("eval", "small.h5", "--set", "data.shape=1x10x10", status=1).stderr
    assert "1x10x10" in message and "1x12x12" in message


def test_eval_scales_many_channels_as_training_did(program):
    """Other training images, which the scale of pixels does not come from then."""
    h5py = pytest.importorskip("h5py")
    numpy = pytest.importorskip("numpy")
    random = numpy.random.default_rng(1)
    test = random.integers(0, 256, (40, 6, 6, 5), dtype=numpy.uint8)
    for name, most in (("a.h5", 256), ("b.h5", 60)):
        with h5py.File(program.folder / name, "w") as file:
            file["train/images"] = random.integers(0, most, (64, 6, 6, 5), dtype=numpy.uint8)
            file["test/images"] = test
            for split, count in (("train", 64), ("test", 40)):
                file[f"{split}/labels"] = numpy.arange(count) % 4
    text = CONFIG.replace("source = synthetic\nshape = 1x12x12\nclasses = 4\ncount = 256",
                          "source = hdf5\npath = a.h5")
    assert text != CONFIG
    program.run("train", program.config(text=text), "--quiet")
    assert (program.json("eval", "small.h5", "--set", "data.path=b.h5")
            == program.json("eval", "small.h5"))


def write_hdf5(folder, splits, names=None):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "data.h5", "w") as file:
        for split, (images, labels) in splits.items():
            file[f"{split}/images"], file[f"{split}/labels"] = images, labels
        if names:
            file["classes"] = names


def write_idx(folder, splits):
    for file in (folder / "idx").glob("*"):
        file.unlink()
    (folder / "idx").mkdir(exist_ok=True)
    for split, (images, labels) in splits.items():
        name = {"train": "train", "test": "t10k"}[split]
        for kind, array in (("images-idx3", images[..., 0]), ("labels-idx1", labels)):
            (folder / "idx" / f"{name}-{kind}-ubyte").write_bytes(
                bytes([0, 0, 8, array.ndim])
                + b"".join(size.to_bytes(4, "big") for size in array.shape)
                + array.astype("uint8").tobytes())


@pytest.mark.parametrize("source", ["hdf5\npath = data.h5", "idx\npath = idx"])
def test_a_test_split_alone_is_scored_by_the_runs_classes(program, source):
    """Its labels end before the run's; of what there is in train/ none is asked for."""
    numpy = pytest.importorskip("numpy")
    images = numpy.random.default_rng(1).integers(0, 256, (60, 6, 6, 1), dtype=numpy.uint8)
    labels = numpy.arange(60) % 4
    write = write_hdf5 if source.startswith("hdf5") else write_idx
    program.config(text=CONFIG.replace(
        "synthetic\nshape = 1x12x12\nclasses = 4\ncount = 256", source))
    write(program.folder, {"train": (images, labels), "test": (images[:20], labels[:20])})
    program.run("train", "small.ini", "--quiet")
    [whole] = program.json("eval", "small.h5")
    low = labels[:20] < 2
    write(program.folder, {"test": (images[:20][low], labels[:20][low])})
    [part] = program.json("eval", "small.h5")
    assert part["confusion"] == whole["confusion"][:2] + 2 * [[0, 0, 0, 0]]
    assert [item["name"] for item in part["classes"]] == ["0", "1", "2", "3"]
    write(program.folder, {"test": (images[:20], labels[:20] + 1)})
    message = program.run("eval", "small.h5", status=1).stderr
    assert "label 4 at index 3; labels here are 0 to 3" in message


def test_names_of_a_test_split_alone_have_to_be_the_runs(program):
    numpy = pytest.importorskip("numpy")
    images = numpy.random.default_rng(1).integers(0, 256, (60, 6, 6, 3), dtype=numpy.uint8)
    labels = numpy.arange(60) % 3
    program.config(text=CONFIG.replace(
        "synthetic\nshape = 1x12x12\nclasses = 4\ncount = 256", "hdf5\npath = data.h5"))
    write_hdf5(program.folder, {"train": (images, labels), "test": (images, labels)},
               ["ant", "bee", "cat"])
    program.run("train", "small.ini", "--quiet")
    expected = program.json("eval", "small.h5")
    for names in (["ant", "bee", "cat"], None):
        write_hdf5(program.folder, {"test": (images, labels)}, names)
        assert program.json("eval", "small.h5") == expected
    for names, message in (
            (["ant", "cat", "bee"], "class 1 of the data is 'cat': the run was trained with 'bee'"),
            (["ant", "bee", "cat", "dog"], "the data has 4 classes: the run was trained on 3")):
        write_hdf5(program.folder, {"test": (images, labels)}, names)
        assert message in program.run("eval", "small.h5", status=1).stderr


def test_a_cifar_test_file_alone_is_scored(program):
    numpy = pytest.importorskip("numpy")
    records = numpy.random.default_rng(1).integers(0, 256, (60, 3073), dtype=numpy.uint8)
    records[:, 0] = numpy.arange(60) % 10
    (program.folder / "cifar").mkdir()
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        (program.folder / "cifar" / name).write_bytes(records.tobytes())
    program.config(text=CONFIG.replace(
        "synthetic\nshape = 1x12x12\nclasses = 4\ncount = 256", "cifar10\npath = cifar"))
    program.run("train", "small.ini", "--quiet", "--set", "train.epochs=1")
    expected = program.json("eval", "small.h5")
    for file in (program.folder / "cifar").glob("data_batch_*"):
        file.unlink()
    assert program.json("eval", "small.h5") == expected


def test_summary_has_the_keys_of_the_contract(program):
    [result] = program.json("summary", program.config())
    nodes = {node["name"]: node for node in result["nodes"]}
    assert list(nodes) == ["conv1", "pool1", "fc1"]
    assert nodes["conv1"] == {"name": "conv1", "type": "conv", "shape": [8, 12, 12],
                              "padding": [1, 1, 1, 1], "parameters": 80,
                              "macs": 8 * 9 * 144, "bytes": 4 * 8 * 144}
    assert nodes["pool1"]["shape"] == [8, 6, 6] and nodes["pool1"]["padding"] == [0, 0, 0, 0]
    assert nodes["fc1"]["parameters"] == 288 * 4 + 4
    assert result["parameters"] == sum(node["parameters"] for node in result["nodes"])
    assert result["macs"] == sum(node["macs"] for node in result["nodes"])
    assert result["train_bytes"] > 3 * 4 * result["parameters"]


def test_summary_of_a_run_is_that_of_its_config(trained):
    assert trained.json("summary", "small.h5") == trained.json("summary", "small.ini")
    [changed] = trained.json("summary", "small.h5", "--set", "conv1.filters=3")
    assert changed["nodes"][0]["shape"] == [3, 12, 12]
    trained.run("summary", "small.h5", "--set", "data.count=3", status=2)


def test_summary_knows_a_run_by_its_content(trained):
    (trained.folder / "small.h5").rename(trained.folder / "odd.ini")
    assert trained.json("summary", "odd.ini") == trained.json("summary", "small.ini")


def test_summary_for_people_has_a_row_a_node(program):
    lines = program.run("summary", program.config()).stdout.splitlines()
    assert any(re.match(r"conv1 +conv +8x12x12 +1,1,1,1 +80 +10,368 ", line) for line in lines)


@pytest.mark.parametrize("mode", ["train", "inference"])
def test_bench_has_the_keys_of_the_contract(program, mode):
    options = ["--inference"] if mode == "inference" else []
    [result] = program.json("bench", program.config(), "--batch", 16, "--threads", 2, "--seconds",
                            0.3, *options)
    assert result["mode"] == mode
    assert result["batch"] == 16 and result["threads"] == 2
    for key in ["images_per_second", "gflops", "sgemm_peak_gflops", "peak_rss_bytes"]:
        assert result[key] > 0, key
    nodes = {node["name"]: node for node in result["nodes"]}
    assert set(nodes) >= {"conv1", "pool1", "fc1"}
    assert all(node["forward_ms"] >= 0 for node in nodes.values())
    assert nodes["conv1"]["forward_ms"] > 0
    assert (nodes["fc1"]["backward_ms"] > 0) == (mode == "train")
    for node in nodes.values():
        for phase in ["forward", "backward"]:
            parts = node[f"{phase}_im2col_ms"], node[f"{phase}_sgemm_ms"]
            assert min(parts) >= 0 and sum(parts) <= node[f"{phase}_ms"] * 1.001
    assert nodes["conv1"]["forward_im2col_ms"] > 0 and nodes["fc1"]["forward_sgemm_ms"] > 0
    assert nodes["pool1"]["forward_sgemm_ms"] == 0


def test_bench_prints_a_table_and_makes_enough_synthetic_data(program):
    text = program.run("bench", program.config(), "--seconds", "0.3", "--batch", "300").stdout
    assert "images/s" in text and "conv1" in text and "optimizer" in text
    assert re.search(r"^Milliseconds a step, over [\d,]+ steps: ", text, re.M)
    assert text.index("\nStages: ") < text.index("\nstage 0: tiles of ")


def test_a_profile_is_printed_and_kept_and_changes_no_weight(program):
    config = program.config()
    program.run("train", config, "--out", "plain.h5")
    lines = program.run("train", config, "--out", "timed.h5", "--profile").stdout.splitlines()
    assert any(re.match(r"conv1 +conv( +[0-9.]+)+$", line) for line in lines)
    assert any(line.startswith("waiting") for line in lines)
    with h5py.File(program.folder / "plain.h5") as plain, \
            h5py.File(program.folder / "timed.h5") as timed:
        assert "profile" not in plain
        for name, weights in plain["state_dict"].items():
            assert (weights[()] == timed["state_dict"][name][()]).all(), name
        profile = timed["profile"]
        nodes = list(profile["node"].asstr()[()])
        assert nodes[0] == "input" and set(nodes) >= {"conv1", "pool1", "fc1"}
        assert profile.attrs["steps"] == timed["optimizer"].attrs["step"]
        all_nodes = profile["forward"][()].sum() + profile["backward"][()].sum()
        assert 0 < all_nodes < profile.attrs["seconds"] * profile.attrs["threads"]
        conv1 = nodes.index("conv1")
        for phase in ["forward", "backward"]:
            parts = profile[f"{phase}_im2col"][conv1] + profile[f"{phase}_sgemm"][conv1]
            assert 0 < parts <= profile[phase][conv1]
    program.run("verify", "timed.h5")
    [event] = [line for line in program.json("train", config, "--out", "timed.h5", "--profile")
               if line["event"] == "profile"]
    assert event["nodes"][0]["name"] == "input" and event["step_ms"] > event["optimizer_ms"] > 0


def test_verify_recomputes_to_the_last_bit_here(trained):
    text = trained.run("verify", "small.h5").stdout
    assert "ok: the weights agree with their checksum" in text and "last bit" in text


def test_verify_of_a_run_that_has_not_ended_looks_at_its_weights(program):
    process = program.start("train", program.config(), "--quiet", "--set", "train.epochs=100000",
                            "--set", "train.checkpoint_every=1 step")
    path = program.folder / "small.h5"
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    text = program.run("verify", "small.h5").stdout
    assert "ok: the weights agree with their checksum" in text and "its status is training" in text
    with h5py.File(path, "r+") as file:
        file["state_dict/fc1.bias"][0] += 1
    assert "state_dict" in program.run("verify", "small.h5", status=1).stderr
    with h5py.File(path, "r+") as file:
        del file["state_dict"].attrs["crc32"]
    assert "nothing to verify it by" in program.run("verify", "small.h5", status=1).stderr


def test_sample_outputs_go_when_a_complete_run_goes_on(trained):
    """They are those of the weights that it had."""
    process = trained.start("train", "small.ini", "--resume", "--quiet", "--set",
                            "train.epochs=100000", "--set", "train.checkpoint_every=1 step")
    status = "complete"
    while status == "complete" and process.poll() is None:
        time.sleep(0.02)
        with h5py.File(trained.folder / "small.h5") as file:
            status = file.attrs["status"]
    process.kill()
    process.communicate()
    with h5py.File(trained.folder / "small.h5") as file:
        assert "golden" not in file and "evaluation" not in file
    assert "its status is training" in trained.run("verify", "small.h5").stdout


def test_verify_finds_other_outputs(trained):
    with h5py.File(trained.folder / "small.h5", "r+") as file:
        logits = file["golden/logits"]
        logits[0, 0] = logits[0, 0] + 1
    assert "logit 0 is" in trained.run("verify", "small.h5", status=1).stderr


def test_verify_finds_a_changed_weight(trained):
    with h5py.File(trained.folder / "small.h5", "r+") as file:
        bias = file["state_dict/fc1.bias"]
        bias[0] = bias[0] + 1
    assert "state_dict" in trained.run("verify", "small.h5", status=1).stderr


def test_report_writes_one_page(trained):
    assert trained.run("report", "small.h5").stdout == "small.html\n"
    trained.run("report", "small.h5", "-o", "other.html")
    page = (trained.folder / "other.html").read_text()
    assert page == (trained.folder / "small.html").read_text()
    assert "<html" in page


def test_one_thing_is_counted_as_one(program):
    """One of all that can be had once: nothing that is printed says "1 things"."""
    program.config("one.ini", CONFIG + "\n[sweep]\nconv1.filters = 3\n")
    one = ["--set", "data.count=4", "--set", "data.validation=0", "--set", "data.limit_train=1",
           "--set", "data.limit_test=1", "--set", "train.batch=1", "--set", "train.epochs=1",
           "--set", "conv1.filters=1"]
    done = [program.run("train", "one.ini", *one, "--threads", 1, "--profile"),
            program.run("sweep", "one.ini", *one, "--out", "sweep.h5"),
            program.run("summary", "one.ini", *one), program.run("check", "one.ini", *one),
            program.run("pack", "one.ini", *one, "-o", "packed.h5"),
            program.run("bench", "one.ini", *one, "--seconds", 0.1, "--threads", 1),
            program.run("eval", "small.h5"), program.run("verify", "small.h5"),
            program.run("report", "small.h5", "-o", "page.html")]
    assert ", 1 epoch, 1 step, " in done[0].stdout
    said = "".join(result.stdout + result.stderr for result in done)
    said += (program.folder / "page.html").read_text()
    assert re.findall(r"(?<![\w.,&;])1 (?:test )?[a-z]+s\b", said) == []


# --- warnings ---

def warnings(program, verb, *settings):
    """Of small.ini, on standard error, whatever else is told there."""
    sets = [part for setting in settings for part in ("--set", setting)]
    quiet = ["--quiet"] if verb == "train" else []
    lines = program.run(verb, "small.ini", *sets, *quiet).stderr.splitlines()
    return [line for line in lines if "warning" in line]


@pytest.mark.parametrize("verb", ["train", "check", "summary"])
def test_an_activation_of_the_last_node_is_warned_of(program, verb):
    program.config()
    assert warnings(program, verb) == []
    program.config(text=CONFIG + "activation = softmax\n")
    assert warnings(program, verb) == [
        "small.ini:32: warning: [fc1] activation = softmax: the loss has a softmax of its own; "
        "leave it away"]
    program.config(text=CONFIG + "[last]\ntype = relu\n")
    assert warnings(program, verb) == [
        "small.ini:33: warning: [last] type = relu: the loss takes any numbers from the last "
        "node, and this keeps some back; leave it away"]


def test_an_activation_before_the_last_node_is_none_to_warn_of(program):
    program.config(text=CONFIG.replace("units = classes", "units = 9\nactivation = softmax")
                   + "[fc2]\ntype = dense\nunits = classes\n")
    assert warnings(program, "summary") == []
    assert warnings(program, "summary", "fc2.activation=gelu") == [
        "--set fc2.activation=gelu: warning: [fc2] activation = gelu: the loss takes any numbers "
        "from the last node, and this keeps some back; leave it away"]


@pytest.mark.parametrize("activation", ["leaky_relu", "prelu"])
def test_an_activation_that_gives_any_number_is_none_to_warn_of(program, activation):
    program.config(text=CONFIG + f"activation = {activation}\n")
    assert warnings(program, "summary") == []
    program.config(text=CONFIG + f"[last]\ntype = {activation}\n")
    assert warnings(program, "summary") == []


@pytest.mark.parametrize("verb", ["train", "check", "summary"])
def test_a_warmup_that_training_does_not_get_over_is_warned_of(program, verb):
    program.config()
    assert warnings(program, verb, "train.warmup=1.9") == []
    assert warnings(program, verb, "train.warmup=2") == [
        "--set train.warmup=2: warning: [train] warmup = 2 is not less than epochs = 2: the "
        "learning rate still rises towards lr = 0.05 when training ends"]


# --- names of other programs ---

@pytest.mark.parametrize("ours, theirs, meant", [
    ("batch =", "batch_size =", "batch"), ("lr =", "learning_rate =", "lr"),
    ("filters =", "out_channels =", "filters"), ("units =", "num_classes =", "units"),
    ("kernel = 3", "kernel_size = 3", "kernel"), ("classes = 4", "num_classes = 4", "classes"),
    ("type = conv", "type = Conv2d", "conv"), ("type = dense", "type = Linear", "dense"),
    ("type = maxpool", "type = MaxPool2d", "maxpool"),
    ("type = maxpool", "type = BatchNorm2d", "batchnorm"),
    ("type = maxpool", "type = Flatten", "flatten"),
    ("type = maxpool", "type = Dropout", "dropout"),
    ("type = maxpool\nkernel = 2", "type = dropout\np = 2", "rate"),
    ("activation = relu", "activation = ReLU", "relu"),
    ("[data]", "[Data]", "[data]"), ("[data]", "[dataset]", "[data]"),
    ("[train]", "[Train]", "[train]"), ("[run]", "[runs]", "[run]"),
])
def test_names_of_other_programs_lead_to_ours(program, ours, theirs, meant):
    assert ours in CONFIG
    program.config(text=CONFIG.replace(ours, theirs, 1))
    error = program.run("summary", "small.ini", status=2).stderr
    meant = meant if "[" in meant else f"'{meant}'"
    assert re.match(r"small\.ini:\d+: ", error) and f"did you mean {meant}?" in error


def test_a_config_without_data_is_told_so(program):
    text = CONFIG[CONFIG.index("[train]"):]
    program.config(text=text)
    assert program.run("summary", "small.ini", status=2).stderr == (
        "small.ini: there is no section [data]: its source and path say where the images are\n")
