"""`predict` on image files: what it computes, in which order, and what it does with bad ones."""
import os

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

CONFIG = """\
[run]
output = {output}

[data]
source = hdf5
path = data.h5

[train]
epochs = 1
lr = 0.01

[fc]
type = dense
units = classes
"""

NAMES = ["ant", "bee", "cat", "dog", "elk", "fox", "gnu"]


def write_image(path, pixels):
    """[h, w] as PGM, [h, w, 3] as PPM."""
    kind = b"P5" if pixels.ndim == 2 else b"P6"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(kind + b"\n%d %d\n255\n" % (pixels.shape[1], pixels.shape[0])
                     + pixels.tobytes())


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def run(request, program):
    """The program in a folder with small.h5, trained on data.h5; the test images are kept."""
    shape = (8, 10) if request.param == 1 else (8, 10, 3)
    pixels = np.random.default_rng(1).integers(0, 256, (100, *shape)).astype(np.uint8)
    labels = np.arange(100) % len(NAMES)
    with h5py.File(program.folder / "data.h5", "w") as file:
        file["train/images"], file["train/labels"] = pixels[:70], labels[:70]
        file["test/images"], file["test/labels"] = pixels[70:], labels[70:]
        file["classes"] = NAMES
    program.run("train", program.config(text=CONFIG), "--quiet")
    program.images, program.labels = pixels[70:], labels[70:]
    return program


def probabilities(program, images):
    """The one dense layer, in double."""
    with h5py.File(program.folder / "small.h5") as file:
        weight, bias = (file[f"state_dict/fc.{name}"][()].astype(float)
                        for name in ("weight", "bias"))
        mean, std = (np.ravel(file["data/classes"].attrs[name]) for name in ("mean", "std"))
    x = images.reshape(len(images), 8, 10, -1) / 255
    x = ((x - mean) / std).transpose(0, 3, 1, 2).reshape(len(images), -1)
    logits = x @ weight.T + bias
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def as_rows(results):
    rows = np.full((len(results), len(NAMES)), np.nan)
    for row, result in zip(rows, results):
        for item in result["top"]:
            assert item["class"] == NAMES[item["index"]]
            row[item["index"]] = item["probability"]
    return rows


def test_probabilities_are_the_networks(run):
    paths = [f"{i:02}.pnm" for i in range(30)]
    for path, image in zip(paths, run.images):
        write_image(run.folder / path, image)
    results = run.json("predict", "small.h5", *paths, "--top", 7)
    assert [result["image"] for result in results] == paths
    want = probabilities(run, run.images)
    # 240 products of floats: relative errors of some 240 * 2^-24 of logits below 10.
    np.testing.assert_allclose(as_rows(results), want, atol=2e-4)
    for result in results:
        falling = [item["probability"] for item in result["top"]]
        assert falling == sorted(falling, reverse=True)
    hits = np.mean([result["top"][0]["index"] == label
                    for result, label in zip(results, run.labels)])
    assert hits == pytest.approx(run.json("eval", "small.h5")[0]["accuracy"])


def moved(images, pixels):
    """Down and to the right by so many, with black coming in."""
    height, width = images.shape[1:3]
    framed = np.pad(images, [(0, 0), (1, 1), (1, 1)] + [(0, 0)] * (images.ndim - 3))
    return framed[:, 1 - pixels:1 - pixels + height, 1 - pixels:1 - pixels + width]


@pytest.mark.parametrize("tta", ["flip", "shift", "flip_shift"])
def test_test_time_augmentation_averages_probabilities(run, tta):
    steps = [1, -1] if "flip" in tta else [1]
    shifts = [(0, 0.5), (1, 0.25), (-1, 0.25)] if "shift" in tta else [(0, 1)]
    want = sum(weight / len(steps) * probabilities(run, moved(run.images, pixels)[:, :, ::step])
               for step in steps for pixels, weight in shifts)
    assert np.abs(want - probabilities(run, run.images)).max() > 0.01
    loss = -np.mean(np.log(want[np.arange(30), run.labels]))
    accuracy = np.mean(want.argmax(axis=1) == run.labels)

    plain = run.json("eval", "small.h5")
    [scored] = run.json("eval", "small.h5", "--set", f"data.tta={tta}")
    assert [scored] == run.json("eval", "small.h5", "--set", f"data.tta={tta}", "--threads", 3)
    assert scored["loss"] == pytest.approx(loss, abs=1e-4)
    assert scored["accuracy"] == pytest.approx(accuracy)

    done = run.json("train", "small.ini", "--set", f"data.tta={tta}")[-1]
    assert done["test_loss"] == pytest.approx(loss, abs=1e-4)  # the same weights
    paths = [f"{i:02}.pnm" for i in range(30)]
    for path, image in zip(paths, run.images):
        write_image(run.folder / path, image)
    results = run.json("predict", "small.h5", *paths, "--top", 7)
    np.testing.assert_allclose(as_rows(results), want, atol=2e-4)
    run.run("verify", "small.h5")
    run.run("report", "small.h5", "-o", "small.html")
    assert f"(tta = {tta})" in (run.folder / "small.html").read_text()
    assert run.json("eval", "small.h5", "--set", "data.tta=none", "--threads", 3) == plain


def test_a_view_that_gives_no_finite_number_is_an_error(run):
    run.run("train", "small.ini", "--set", "data.tta=flip", "--quiet")
    with h5py.File(run.folder / "small.h5", "r+") as file:
        del file["state_dict"].attrs["crc32"]
        file["state_dict/fc.weight"][0, 0] = 3e38  # of the upper left pixel
        grey = int(255 * np.mean(file["data/classes"].attrs["mean"]))
    image = np.full_like(run.images[0], grey)
    write_image(run.folder / "a.pnm", image)
    run.run("predict", "small.h5", "a.pnm")
    image[:, -1] = 255
    write_image(run.folder / "a.pnm", image)
    assert "not finite" in run.run("predict", "small.h5", "a.pnm", status=1).stderr


def test_images_without_a_pixel_to_spare_are_not_shifted(program):
    config = CONFIG.replace("hdf5\npath = data.h5", "synthetic\nshape = 1x1x9\ntta = shift")
    error = program.run("train", program.config(text=config), status=2).stderr
    assert "small.ini:7: [data] tta = shift moves images by a pixel: they are 1x9" in error


def test_five_classes_unless_asked_for_others(run):
    write_image(run.folder / "a.pnm", run.images[0])
    [five] = run.json("predict", "small.h5", "a.pnm")
    [two] = run.json("predict", "small.h5", "a.pnm", "--top", 2)
    assert len(five["top"]) == 5 and two["top"] == five["top"][:2]
    text = run.run("predict", "small.h5", "a.pnm", "--top", 2).stdout
    first, second = two["top"]
    assert text == (f"a.pnm: {first['class']} {100 * first['probability']:.1f} %, "
                    f"{second['class']} {100 * second['probability']:.1f} %\n")


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "65537"])
def test_top_is_a_whole_number(program, value):
    assert "from 1 to 65536" in program.run("predict", "a.h5", "a.png", "--top", value,
                                            status=2).stderr


def test_top_is_at_most_the_number_of_classes(run):
    result = run.run("predict", "small.h5", "a.pnm", "--top", 8, status=2)
    assert "--top 8" in result.stderr and "7 classes" in result.stderr and result.stdout == ""


def test_an_image_is_wanted(program):
    assert "IMAGE" in program.run("predict", "a.h5", status=2).stderr


def test_folders_are_read_by_name_through_all_levels(run):
    for name in ["set/b.ppm", "set/a/2.PGM", "set/a/10.pnm", "set/c.pgm", "set/.hidden.pgm",
                 "set/.dir/d.pgm", "lone.pgm"]:
        write_image(run.folder / name, run.images[1])
    (run.folder / "set/notes.txt").write_text("no image")
    (run.folder / "set/mask.pbm").write_text("P1 1 1 0")
    (run.folder / "set/loop").symlink_to(".")
    (run.folder / "set/a/back").symlink_to("..")
    write_image(run.folder / "elsewhere/1.pgm", run.images[1])
    (run.folder / "elsewhere/back").symlink_to("../set/a")
    (run.folder / "set/link").symlink_to("../elsewhere")
    results = run.json("predict", "small.h5", "lone.pgm", "set")
    assert [result["image"] for result in results] == [
        "lone.pgm", "set/a/10.pnm", "set/a/2.PGM", "set/b.ppm", "set/c.pgm", "set/link/1.pgm",
        "set/link/back/10.pnm", "set/link/back/2.PGM"]


def test_files_of_a_folder_that_are_named_like_no_image_are_counted(run):
    for name in ["a/1.pgm", "b/1.pgm", "b/in/2", "b/2.heic", "b/.hidden", "c/1"]:
        write_image(run.folder / name, run.images[1])
    (run.folder / "b/gone").symlink_to("nowhere")
    whole = run.run("predict", "small.h5", "a", "c/1", "b")
    assert [line.split(":")[0] for line in whole.stdout.splitlines()] == ["a/1.pgm", "c/1",
                                                                         "b/1.pgm"]
    assert whole.stderr == "b: 3 files passed over, named like no image: b/2.heic and others\n"
    none = run.run("predict", "small.h5", "c", status=1)
    assert none.stderr.splitlines()[:2] == ["c: 1 file passed over, named like no image: c/1",
                                            "c: has no image files"]


def test_names_that_are_no_utf8_still_give_json(run):
    write_image(run.folder / os.fsdecode(b"odd\xff.pgm"), run.images[0])
    [result] = run.json("predict", "small.h5", os.fsdecode(b"odd\xff.pgm"))
    assert result["image"] == "odd\ufffd.pgm"


def test_outputs_that_are_not_finite_are_an_error(run):
    # One step so long that it ends near the largest float; then inputs of up to 1,000 are too much.
    run.run("train", "small.ini", "--quiet", "--set", "train.lr=1e34", "--set", "train.batch=70",
            "--set", "data.mean=0", "--set", "data.std=0.001", "--out", "far.h5", status=1)
    write_image(run.folder / "a.pgm", run.images[0])
    result = run.run("predict", "far.h5", "a.pgm", status=1)
    assert "not finite" in result.stderr and result.stdout == ""


def test_a_bad_image_is_named_and_the_others_are_classified(run):
    write_image(run.folder / "a.pgm", run.images[0])
    write_image(run.folder / "d.pgm", run.images[1])
    (run.folder / "b.pgm").write_bytes((run.folder / "a.pgm").read_bytes()[:-1])
    (run.folder / "empty").mkdir()
    result = run.run("predict", "small.h5", "a.pgm", "b.pgm", "c.pgm", "empty", "d.pgm", "--json",
                     status=1)
    lines = result.stdout.splitlines()
    assert len(lines) == 2 and '"a.pgm"' in lines[0] and '"d.pgm"' in lines[1]
    for name in ["b.pgm: ", "c.pgm: ", "empty: has no image files"]:
        assert any(line.startswith(name) for line in result.stderr.splitlines())
    both = as_rows(run.json("predict", "small.h5", "a.pgm", "d.pgm", "--top", 7))
    np.testing.assert_allclose(both, probabilities(run, run.images[:2]), atol=2e-4)


def test_more_images_than_fit_one_batch(run):
    for i in range(300):
        write_image(run.folder / f"many/{i:03}.pnm", run.images[i % 30])
    results = run.json("predict", "small.h5", "many", "--top", 7)
    assert [result["image"] for result in results] == [f"many/{i:03}.pnm" for i in range(300)]
    np.testing.assert_allclose(as_rows(results), np.tile(probabilities(run, run.images), (10, 1)),
                               atol=2e-4)


def test_images_of_another_size_are_made_to_fit(run):
    image = np.repeat(np.repeat(run.images[0], 4, axis=0), 4, axis=1)
    write_image(run.folder / "large.pnm", image)
    [result] = run.json("predict", "small.h5", "large.pnm", "--top", 7)
    assert sum(item["probability"] for item in result["top"]) == pytest.approx(1, abs=1e-5)
