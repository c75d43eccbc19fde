"""The report of a sweep: its numbers are the file's, and the page in a browser.

Every sweep here is trained by the program that COLONNADE names, on data of a few kilobytes.
"""
import html
import math
import os
import subprocess

import pytest

import browser as chromium
from parsing import Parsed, close

h5py = pytest.importorskip("h5py")
numpy = pytest.importorskip("numpy")

HOSTILE = "<img src=x onerror=alert(1)>"
NETWORK = """
[run]
threads = 1
[train]
epochs = 2
batch = 8
lr = 0.05
[conv]
type = conv
filters = 4
kernel = 3
activation = relu
[pool]
type = maxpool
kernel = 2
[fc]
type = dense
units = classes
"""
SYNTHETIC = "[data]\nsource = synthetic\nshape = 1x8x8\nclasses = 4\ncount = 64\n"

SWEEPS = {
    # Failed and invalid rows beside good ones.
    "plain": SYNTHETIC + NETWORK + "[sweep]\nconv.stride = 1, 2\nconv.padding = valid, same\n"
             "pool.kernel = 2, 4\ntrain.lr = 0.05, 1e30\nseeds = 1, 2, 3\n",
    # Curves of unequal lengths: shorter, of a seed that failed late, of none; without validation.
    "curves": SYNTHETIC + "validation = 0.25\n" + NETWORK +
              "[sweep]\ntrain.epochs = 5, 3\nconv.kernel = 3, 20\ntrain.lr = 0.05, 10\n"
              "train.weight_decay = 0, 1\nseeds = 1, 2\n",
    "long": SYNTHETIC.replace("64", "8") + NETWORK.replace("epochs = 2", "epochs = 7000") +
            "[sweep]\nconv.stride = 1, 2\nseeds = 1, 2\n",
    "hostile": "[data]\nsource = hdf5\npath = plain.h5\n" + NETWORK +
               f"[sweep]\ndata.path = plain.data, \"{HOSTILE}\"\nconv.kernel = 3, 20\n",
    "one": SYNTHETIC + NETWORK + "[sweep]\ntrain.lr = 0.05, 0.01, 0.2\nseeds = 1, 2, 3\n",
    "alone": SYNTHETIC + NETWORK + "[sweep]\nseeds = 1, 2\n",
    "nothing": SYNTHETIC + NETWORK + "[sweep]\ntrain.lr = 1e30, 1e31\n",
    "large": SYNTHETIC.replace("64", "8") + NETWORK + "[sweep]\ntrain.momentum = " +
             ", ".join(f"0.0{i}" for i in range(1, 10)) + ", 0.5\ntrain.lr = " +
             ", ".join(f"0.0{i}" for i in range(1, 10)) + ", 0.1\nseeds = 1, 2\n",
}


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """Makes the sweep of a name and its page, once; a function from names to paths."""
    program = os.environ.get("COLONNADE", "")
    if not os.path.exists(program):
        pytest.skip("COLONNADE names no program")
    folder, made = tmp_path_factory.mktemp("sweeps"), {}
    images = numpy.random.default_rng(1).integers(0, 256, (32, 8, 8), dtype=numpy.uint8)
    for path in "plain.data", HOSTILE:
        with h5py.File(folder / path, "w") as file:
            for part in "train", "test":
                file[f"{part}/images"], file[f"{part}/labels"] = images, numpy.arange(32) % 4

    def make(name):
        if name not in made:
            (folder / f"{name}.ini").write_text(SWEEPS[name])
            output = f"<b>{name}.h5" if name == "hostile" else f"{name}.h5"
            for arguments, status in (
                    (["sweep", f"{name}.ini", "--out", output, "--quiet"], name == "nothing"),
                    (["report", output, "-o", f"{name}.html"], 0)):
                assert subprocess.run([program, *arguments], cwd=folder,
                                      stdout=subprocess.DEVNULL).returncode == status
            made[name] = folder / output, folder / f"{name}.html"
        return made[name]

    return make


@pytest.fixture
def opened(swept, browser):
    tabs = []

    def open_page(name, **options):
        tabs.append(chromium.Page(browser, swept(name)[1], **options))
        return tabs[-1]

    yield open_page
    for tab in tabs:
        tab.close()


def parsed(swept, name):
    return Parsed(swept(name)[1].read_text(encoding="utf-8"))


def rows(swept, name):
    """The file's rows as dictionaries."""
    with h5py.File(swept(name)[0]) as file:
        columns = {key: [value.decode() if isinstance(value, bytes) else value
                         for value in data[()]] for key, data in file["combinations"].items()}
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


def table(page, label):
    """Rows of a table as {heading: (text, data-value)}; a heading that comes again has a ' after."""
    heading, *body = page.tables[label]
    names = []
    for text, _ in heading:
        names.append(text + "'" * sum(name.rstrip("'") == text for name in names))
    return [dict(zip(names, row)) for row in body]


def number(cell):
    return math.nan if cell[1] is None else float(cell[1])


AXES = ["conv.stride", "conv.padding", "pool.kernel", "train.lr"]


def by_settings(trained):
    grouped = {}
    for row in trained:
        grouped.setdefault(tuple(row[axis] for axis in AXES), []).append(row)
    return grouped


def test_rows_are_the_files(swept):
    shown = table(parsed(swept, "plain"), "Rows")
    complete = [row for row in rows(swept, "plain") if row["status"] == "complete"]
    assert len(shown) == len(complete) > 0
    for row, expected in zip(shown, complete):
        assert [row[axis][0] for axis in AXES] == [expected[axis] for axis in AXES]
        assert row["seed"][0] == str(expected["seed"])
        for heading, column in [("test accuracy", "test_accuracy"), ("test loss", "test_loss"),
                                ("train loss", "train_loss"), ("images/s", "images_per_second"),
                                ("step ms", "step_ms"), ("seconds", "seconds")]:
            assert close(number(row[heading]), float(expected[column])), heading


def test_the_environment_is_the_files(swept):
    run, page = swept("plain")
    text = html.unescape(page.read_text(encoding="utf-8"))
    with h5py.File(run) as file:
        for label, name in [("Colonnade", "colonnade_version"), ("Machine", "machine"),
                            ("BLAS", "blas"), ("BLAS kernel", "blas_kernel")]:
            assert f"<dt>{label}</dt><dd>{file.attrs[name]}</dd>" in text


def test_combinations_are_the_files_over_seeds(swept):
    shown = table(parsed(swept, "plain"), "Combinations")
    grouped = by_settings(rows(swept, "plain"))
    assert [tuple(row[axis][0] for axis in AXES) for row in shown] == list(grouped)
    points = []
    for row, seeds in zip(shown, grouped.values()):
        good = [seed for seed in seeds if seed["status"] == "complete"]
        accuracy = numpy.array([seed["test_accuracy"] for seed in good])
        time = numpy.array([seed["step_ms"] for seed in good])
        points.append((accuracy.mean(), time.mean()) if good else None)
        if good:
            # Student's t of two degrees of freedom, 97.5 %: 4.30265; nine digits are shown.
            assert close(number(row["accuracy"]), accuracy.mean())
            assert math.isclose(number(row["sd"]), accuracy.std(ddof=1), rel_tol=1e-7)
            assert math.isclose(number(row["± 95 %"]), 4.3026527297 * accuracy.std(ddof=1) /
                                math.sqrt(3), rel_tol=1e-7)
            assert close(number(row["step ms"]), time.mean())
        else:
            assert math.isnan(number(row["accuracy"])) and row["accuracy"][0] == "–"
        assert number(row["parameters"]) == seeds[0]["parameters"]
        assert number(row["multiply-adds"]) == seeds[0]["macs"]
        assert number(row["bytes"]) == seeds[0]["activation_bytes"]
        assert row["last map"][0] == (seeds[0]["output_shape"].replace("x", "×") or "–")
    for row, point in zip(shown, points):
        beaten = point is None or any(
            other and other[0] >= point[0] and other[1] <= point[1] and other != point
            for other in points)
        assert number(row["front"]) == (not beaten)


def check_keys(shown, trained, axes, values):
    """Each seed counts as one sample of a key's effect: its mean over the grid."""
    # Student's t, 97.5 %, by degrees of freedom.
    quantiles = {1: 12.7062047, 2: 4.3026527}
    trained = [row for row in trained if row["status"] == "complete"]
    accuracy = {(*(row[axis] for axis in axes), row["seed"]): row["test_accuracy"]
                for row in trained}
    time = {(*(row[axis] for axis in axes), row["seed"]): row["step_ms"] for row in trained}
    assert [(row["key"][0], row["instead of"][0], row["value"][0]) for row in shown] == \
        [(axis, first, other) for axis, (first, *others) in zip(axes, values) for other in others]
    for row in shown:
        i = axes.index(row["key"][0])
        by_seed, by_pair, pairs = {}, {}, 0
        for here, after in accuracy.items():
            there = here[:i] + (row["instead of"][0],) + here[i + 1:]
            if here[i] == row["value"][0] and there in accuracy:
                pair = after - accuracy[there], math.log(time[here] / time[there])
                by_seed.setdefault(here[-1], []).append(pair)
                by_pair.setdefault(here[:-1], []).append(pair[0])
                pairs += 1
        assert number(row["pairs"]) == pairs
        if pairs == 0:
            assert row["accuracy, points"][0] == row["± 95 %"][0] == row["least"][0] == "–"
            continue
        differences, logarithms = numpy.array([numpy.mean(seed, axis=0)
                                               for seed in by_seed.values()]).T
        of_combinations = [numpy.mean(seeds) for seeds in by_pair.values()]
        expected = {"accuracy, points": differences.mean(), "least": min(of_combinations),
                    "greatest": max(of_combinations), "time a step": math.exp(logarithms.mean()),
                    "± 95 %": quantiles[len(by_seed) - 1] * differences.std(ddof=1) /
                    math.sqrt(len(by_seed)) if len(by_seed) > 1 else math.nan}
        for heading, value in expected.items():
            # Nine digits are shown; accuracies are of 1, so that differences err by some 1e-16.
            assert close(number(row[heading]), value) or \
                math.isclose(number(row[heading]), value, rel_tol=1e-8, abs_tol=1e-9), heading


@pytest.mark.parametrize("name, axes, values", [
    ("plain", AXES, [["1", "2"], ["valid", "same"], ["2", "4"], ["0.05", "1e30"]]),
    ("one", ["train.lr"], [["0.05", "0.01", "0.2"]]),
])
def test_keys_are_compared_over_pairs_that_differ_in_nothing_else(swept, name, axes, values):
    shown = table(parsed(swept, name), "Keys")
    check_keys(shown, rows(swept, name), axes, values)
    assert not math.isnan(number(shown[0]["± 95 %"]))


def test_a_key_of_a_sweep_with_one_seed_has_no_interval(swept):
    shown = table(parsed(swept, "hostile"), "Keys")
    check_keys(shown, rows(swept, "hostile"), ["data.path", "conv.kernel"],
               [["plain.data", HOSTILE], ["3", "20"]])
    assert number(shown[0]["pairs"]) == 1 and shown[0]["± 95 %"][0] == "–"


def changed(source, folder, columns):
    """A copy of a sweep's file with other columns, by name a function of the old one, and its
    page."""
    copy = folder / "changed.h5"
    copy.write_bytes(source.read_bytes())
    with h5py.File(copy, "r+") as file:
        for column, change in columns.items():
            file[f"combinations/{column}"][...] = change(file[f"combinations/{column}"][()])
    subprocess.run([os.environ["COLONNADE"], "report", copy.name], check=True, cwd=folder,
                   stdout=subprocess.DEVNULL)
    return copy, folder / "changed.html"


def fail(*indices):
    """For changed(): the status column with these rows failed."""
    return {"status": lambda old: [b"failed" if i in indices else one
                                  for i, one in enumerate(old)]}


def test_pairs_that_lack_a_row_are_left_out_and_counted(swept, tmp_path):
    # Of each seed another number of pairs is left.
    paths = changed(swept("plain")[0], tmp_path, fail(0, 6, 13, 25))
    shown = table(parsed(lambda _: paths, "failed"), "Keys")
    check_keys(shown, rows(lambda _: paths, "failed"), AXES,
               [["1", "2"], ["valid", "same"], ["2", "4"], ["0.05", "1e30"]])
    pairs = [row["pairs"][0] for row in shown]
    assert pairs[0].endswith(" of 24") and pairs[3] == "0 of 24"


def check_map(page, trained, first, second):
    """Means over the other keys; cells that lack some of the others' choices say so."""
    cells, others = {}, set()
    for settings, seeds in trained.items():
        good = [seed["test_accuracy"] for seed in seeds if seed["status"] == "complete"]
        if good:
            other = tuple(value for i, value in enumerate(settings) if i not in (first, second))
            cells.setdefault((settings[first], settings[second]), {})[other] = numpy.mean(good)
            others.add(other)
    heading, *body = page.tables[f"Test accuracy {first + 1}-{second + 1}"]
    marks = []
    for row in body:
        for column, cell in zip(heading[1:], row[1:]):
            over = cells.get((row[0][0], column[0]), {})
            if not over:
                assert cell[0] == "–"
                continue
            assert close(number(cell), numpy.mean(list(over.values())))
            marks.append(cell[0].partition("%")[2])
            assert marks[-1] == ("" if len(over) == len(others) else
                                 f"* {len(over)} of {len(others)}")
    return [mark for mark in marks if mark]


def test_maps_are_means_over_the_other_keys(swept):
    page = parsed(swept, "plain")
    for first, second in [(0, 1), (0, 3), (1, 2)]:
        check_map(page, by_settings(rows(swept, "plain")), first, second)
    assert len([label for label in page.tables if label.startswith("Step, ms")]) == 6


NOTE = "* over fewer combinations than other cells"


def test_cells_over_fewer_combinations_than_others_say_so(swept, tmp_path):
    # All seeds of one combination have failed, with a learning rate of which others are complete.
    paths = changed(swept("plain")[0], tmp_path, fail(0, 1, 2))
    page = parsed(lambda _: paths, "changed")
    trained = by_settings(rows(lambda _: paths, "changed"))
    marks = [check_map(page, trained, *pair) for pair in [(0, 1), (0, 2), (0, 3), (1, 2)]]
    assert all(marks) and "".join(page.texts).count(NOTE) >= 2 * len(marks)


def test_cells_that_lack_the_same_combinations_compare(swept, tmp_path):
    # No cell has a combination with the greater kernel, as none has one with the greater rate.
    greater = [i for i, row in enumerate(rows(swept, "plain")) if row["pool.kernel"] == "4"]
    paths = changed(swept("plain")[0], tmp_path, fail(*greater))
    page = parsed(lambda _: paths, "changed")
    trained = by_settings(rows(lambda _: paths, "changed"))
    assert check_map(page, trained, 0, 1) == check_map(page, trained, 0, 2) == []
    assert NOTE not in "".join(page.texts)


CURVES = ["train_loss", "train_accuracy", "val_loss", "val_accuracy"]


def curves(swept, name):
    """By combination: (status, {curve: values}) of each seed that ended an epoch."""
    with h5py.File(swept(name)[0]) as file:
        found = {column: file[f"curves/{column}"][()] for column in CURVES}
    table, grouped = rows(swept, name), {}
    axes = [key for key in table[0] if "." in key]
    for i, row in enumerate(table):
        seeds = grouped.setdefault(tuple(row[axis] for axis in axes), [])
        count = numpy.count_nonzero(~numpy.isnan(found["train_loss"][i]))
        if count:
            seeds.append((row["status"], {column: found[column][i][:count] for column in CURVES}))
    return [(index, seeds) for index, seeds in enumerate(grouped.values()) if seeds]


def counted(seeds):
    """Those that the mean is over."""
    complete = [curve for status, curve in seeds if status == "complete"]
    return complete or [curve for _, curve in seeds]


def same(shown, expected):
    """Six digits are written; a curve of nothing is empty."""
    if numpy.isnan(expected).all():
        return shown == []
    return numpy.allclose(shown, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["curves", "plain", "large"])
def test_curves_are_the_files_and_their_means_over_seeds(swept, name):
    data, expected = parsed(swept, name).data(), curves(swept, name)
    assert data["epochs"] == list(range(1, {"curves": 5}.get(name, 2) + 1))
    assert [curve["index"] for curve in data["curves"]] == [index for index, _ in expected]
    statuses = set()
    for shown, (_, seeds) in zip(data["curves"], expected):
        shortest = min(len(curve["train_loss"]) for curve in counted(seeds))
        for column in CURVES:
            mean = numpy.mean([curve[column][:shortest] for curve in counted(seeds)], axis=0)
            assert same(shown["mean"][column], mean)
            assert len(shown["seeds"]) == len(seeds)
            for one, (status, curve) in zip(shown["seeds"], seeds):
                assert same(one[column], curve[column])
                assert one["complete"] == (status == "complete")
                statuses.add(status)
    assert statuses == ({"complete", "failed"} if name == "curves" else {"complete"})


def test_a_seed_that_failed_is_no_part_of_the_mean_of_complete_ones(swept, tmp_path):
    mixed = tmp_path / "mixed.h5"
    mixed.write_bytes(swept("curves")[0].read_bytes())
    with h5py.File(mixed, "r+") as file:
        status = file["combinations/status"][()]
        status[1] = "failed"
        file["combinations/status"][...] = status
        for column in CURVES:
            file[f"curves/{column}"][1, 2:] = math.nan
        expected = {column: file[f"curves/{column}"][0] for column in CURVES}
    subprocess.run([os.environ["COLONNADE"], "report", "mixed.h5"], check=True, cwd=tmp_path,
                   stdout=subprocess.DEVNULL)
    shown = Parsed((tmp_path / "mixed.html").read_text(encoding="utf-8")).data()["curves"][0]
    assert all(same(shown["mean"][column], expected[column]) for column in CURVES)
    assert [seed["complete"] for seed in shown["seeds"]] == [True, False]
    assert [len(seed["val_loss"]) for seed in shown["seeds"]] == [5, 2]


@pytest.mark.parametrize("name", ["curves", "plain"])
def test_the_last_epochs_stand_in_a_table(swept, name):
    shown, expected = table(parsed(swept, name), "Last epochs"), curves(swept, name)
    assert [number(row["no."]) for row in shown] == [index + 1 for index, _ in expected]
    for row, (_, seeds) in zip(shown, expected):
        assert number(row["epochs"]) == max(len(curve["train_loss"]) for curve in counted(seeds))
        for heading, column in zip(["train loss", "train accuracy", "val. loss", "val. accuracy"],
                                   CURVES):
            assert close(number(row[heading]),
                         float(numpy.mean([curve[column][-1] for curve in counted(seeds)])))


def test_of_a_long_sweep_so_many_epochs_are_shown_that_the_page_stays_small(swept, opened):
    data, [(_, seeds), _] = parsed(swept, "long").data(), curves(swept, "long")
    # Two combinations, two seeds, four curves of 7,000 epochs: 112,000 numbers.
    assert data["epochs"] == [*range(1, 7000, 2), 7000]
    at = numpy.array(data["epochs"]) - 1
    assert same(data["curves"][0]["seeds"][1]["train_loss"], seeds[1][1]["train_loss"][at])
    assert "One epoch in 2 is shown, and the last" in " ".join("".join(parsed(swept, "long").texts).split())
    assert swept("long")[1].stat().st_size < 3 << 20
    assert opened("long").problems == []


def troubles(trained):
    """A line a combination and reason, with its seeds."""
    lines = {}
    for row in trained:
        if row["status"] != "complete":
            line = *(row[axis] for axis in AXES), row["status"], row["reason"]
            lines.setdefault(line, []).append(str(row["seed"]))
    return [(*line, "all" if "invalid" in line else ", ".join(seeds))
            for line, seeds in lines.items()]


def shown_troubles(page):
    return [tuple(row[heading][0] for heading in [*AXES, "status", "reason", "seeds"])
            for row in table(page, "Not trained")]


def test_what_was_not_trained_stands_there_with_its_reason(swept):
    shown = shown_troubles(parsed(swept, "plain"))
    assert shown == troubles(rows(swept, "plain"))
    assert {(status, seeds) for *_, status, _, seeds in shown} == {("failed", "1, 2, 3"),
                                                                   ("invalid", "all")}


def test_seeds_that_failed_for_other_reasons_have_lines_of_their_own(swept, tmp_path):
    def reasons(old):
        return [b"another" if i in (1, 7) else b"this one" if i in (6, 8) else one
                for i, one in enumerate(old)]

    paths = changed(swept("plain")[0], tmp_path, {**fail(1, 6, 7, 8), "reason": reasons})
    shown = shown_troubles(parsed(lambda _: paths, "changed"))
    assert shown == troubles(rows(lambda _: paths, "changed"))
    assert [line[-2:] for line in shown if line[-2] in ("another", "this one")] == \
        [("another", "2"), ("this one", "1, 3"), ("another", "2")]


@pytest.mark.parametrize("rows_failed, text, colour", [
    ([], "complete", "--good"), ([0], "complete, 1 row failed", "--second"),
    ([0, 3], "complete, 2 rows failed", "--second")])
def test_a_sweep_of_which_rows_failed_is_not_simply_complete(swept, browser, tmp_path, rows_failed,
                                                             text, colour):
    paths = changed(swept("one")[0], tmp_path, fail(*rows_failed))
    page = chromium.Page(browser, paths[1])
    assert page.evaluate("document.querySelector('.status').innerText") == text
    assert page.evaluate("""((name) => {
        const probe = document.body.appendChild(document.createElement('i'));
        probe.style.color = 'var(' + name + ')';
        return getComputedStyle(probe).color ===
            getComputedStyle(document.querySelector('.status')).color;
    })""" + f"('{colour}')")
    page.close()


def test_texts_of_the_config_are_shown_as_they_are(swept, opened):
    page = parsed(swept, "hostile")
    assert table(page, "Rows")[1]["data.path"][0] == HOSTILE
    assert [cell[0] for cell in page.tables["Test accuracy 1-2"][2]][0] == HOSTILE
    assert not any(tag == "img" or tag == "b" and attributes for tag, attributes in page.tags)
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert "<b>hostile" in "".join(page.texts)
    assert f"Training by epoch: data.path {HOSTILE}, conv.kernel 3" in \
        [attributes.get("aria-label") for tag, attributes in page.tags if tag == "canvas"]
    shown = opened("hostile")
    assert shown.problems == []
    assert shown.evaluate("document.images.length") == 0


def test_a_sweep_of_seeds_alone_has_a_page(swept, opened):
    page = parsed(swept, "alone")
    texts = "".join(page.texts)
    assert len(table(page, "Rows")) == 2 and "A map takes two swept keys." in texts
    assert "No key was swept." in texts and "Keys" not in page.tables
    page = opened("alone")
    assert page.problems == []
    assert page.evaluate("Chart.getChart(document.querySelector('canvas')).scales.y.max") <= 1


def test_a_sweep_of_which_nothing_was_trained_has_no_empty_chart(opened):
    page = opened("nothing")
    assert page.problems == []
    assert "No combination has" in page.evaluate("document.querySelector('#front').innerText")
    assert page.evaluate("document.querySelectorAll('canvas').length") == 0


def test_a_small_sweep_is_a_small_page(swept):
    text = swept("plain")[1].read_text(encoding="utf-8")
    assert len(text.encode()) < 3 << 20
    assert "http://" not in text.split("</style>")[0] and "src=" not in text.split("<script>")[0]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", [name for name in SWEEPS if name != "long"])
def test_it_opens_without_a_word_and_fits_the_screen(opened, name, width, dark):
    page = opened(name, width=width, dark=dark)
    assert page.problems == []
    assert sum(url.startswith("file:") for url in page.requests) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(level) for level in background[4:-1].split(",")]
    assert max(levels) < 64 if dark else min(levels) > 192


# Pixels of a chart that are blue, as the front and training are, and orange, as the others and
# validation are.
INK = """((canvas) => {
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    const count = [0, 0];
    for (let i = 0; i < pixels.length; i += 4) {
        count[0] += pixels[i + 2] > pixels[i] + 60 && pixels[i + 3] > 128;
        count[1] += pixels[i] > pixels[i + 2] + 60 && pixels[i + 3] > 128;
    }
    return count;
})"""
FRONT = "(document.querySelector('canvas'))"


@pytest.mark.parametrize("dark", [False, True])
def test_the_chart_has_a_point_for_every_combination(opened, dark):
    front, others = opened("large", dark=dark).evaluate(INK + FRONT)
    # A point is a disc of radius 4: some 50 pixels, more where few lie on each other.
    assert front > 40 and others > 200, (front, others)


# The axes and the combinations' points; and how wide what has the intervals' colour is four pixels
# within the left, right, bottom and top edge of the chart, at the height or place of each point.
EDGES = """(() => {
    const canvas = document.querySelector('canvas'), chart = Chart.getChart(canvas);
    const { chartArea: area, scales: { x, y } } = chart;
    const faint = page.colour('faint').match(/[0-9a-f]{2}/g).map((level) => parseInt(level, 16));
    const width = (left, top, wide, high) => {
        const { data } = canvas.getContext('2d').getImageData(Math.round(left), Math.round(top),
            wide, high);
        let count = 0;
        for (let i = 0; i < data.length; i += 4)
            count += faint.every((level, c) => Math.abs(level - data[i + c]) < 32) &&
                data[i + 3] > 96;
        return count;
    };
    return {
        x: [x.min, x.max], y: [y.min, y.max],
        points: chart.data.datasets.flatMap(({ data }) => data).map((point) => {
            const at = [x.getPixelForValue(point.x), y.getPixelForValue(point.y)];
            return { index: point.index, widths: [width(area.left + 4, at[1] - 4, 1, 9),
                width(area.right - 5, at[1] - 4, 1, 9), width(at[0] - 4, area.bottom - 5, 9, 1),
                width(at[0] - 4, area.top + 4, 9, 1)] };
        }),
    };
})()"""


# Seeds' accuracies and times of three combinations: narrow, so that the axes hold all intervals;
# and of one so wide that all four ends of its intervals lie beyond the chart.
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("spread, cut", [((0.01, 0.5), 0), ((0.2, 15), 4)])
def test_intervals_fit_the_chart_or_end_in_arrows(swept, browser, tmp_path, spread, cut, width,
                                                  dark):
    accuracy = numpy.array([[0.49, 0.51, 0.5], [0.6, 0.61, 0.59], [0.8 - spread[0], 0.8,
                                                                    0.8 + spread[0]]])
    time = numpy.array([[10, 10.5, 9.5], [20, 19.5, 20.5], [30, 30 - spread[1], 30 + spread[1]]])
    _, path = changed(swept("one")[0], tmp_path, {"test_accuracy": lambda _: accuracy.ravel(),
                                                  "step_ms": lambda _: time.ravel()})
    page = chromium.Page(browser, path, width=width, dark=dark)
    assert page.problems == []
    shown = page.evaluate(EDGES)
    page.close()
    half = {name: 4.3026527297 * values.std(axis=1, ddof=1) / math.sqrt(3)
            for name, values in [("x", time), ("y", accuracy)]}
    mean = {"x": time.mean(axis=1), "y": accuracy.mean(axis=1)}
    found = 0
    for point in shown["points"]:
        i, ends = point["index"], []
        for name in "x", "y":
            ends += [shown[name][0] - (mean[name][i] - half[name][i]) > 1e-9,
                     mean[name][i] + half[name][i] - shown[name][1] > 1e-9]
        # The head is four pixels wide there; a line that goes on to the edge has a width of one
        # or, faintly, two.
        assert [arrow > 2 for arrow in point["widths"]] == ends, point
        found += sum(ends)
    assert found == cut
    for name, least in ("x", 0), ("y", mean["y"].min()):
        low, high = shown[name]
        assert low <= least and mean[name].max() <= high
        assert mean[name].max() - least >= (high - low) / 2
    assert shown["x"][0] == 0 and 0 <= shown["y"][0] and shown["y"][1] <= 1


# Where the labels are, what else is there, and pixels of the ink's colour within each.
LABELS = """(() => {
    const canvas = document.querySelector('canvas'), chart = Chart.getChart(canvas);
    const { left, right, top, bottom } = chart.chartArea;
    const ink = page.colour('ink').match(/[0-9a-f]{2}/g).map((level) => parseInt(level, 16));
    const inked = ({ left, right, top, bottom }) => {
        const { data } = canvas.getContext('2d').getImageData(left, top, right - left, bottom - top);
        let count = 0;
        for (let i = 0; i < data.length; i += 4)
            count += ink.every((level, c) => Math.abs(level - data[i + c]) < 64) &&
                data[i + 3] > 128;
        return count;
    };
    return {
        area: { left, right, top, bottom },
        points: chart.data.datasets.flatMap(({ data }) => data).map((point) =>
            [chart.scales.x.getPixelForValue(point.x), chart.scales.y.getPixelForValue(point.y)]),
        labels: chart.labels.map(({ lines, box }) => ({ lines, box, ink: inked(box) })),
    };
})()"""


def lie_apart(a, b):
    return a["right"] <= b["left"] or b["right"] <= a["left"] or a["bottom"] <= b["top"] or \
        b["bottom"] <= a["top"]


def check_labels(shown, front, cuts):
    """Labels name points of the front, each another, and lie on nothing; `cuts` says whether a
    value may be too wide. Gives how many there are."""
    area, labels, boxes = shown["area"], shown["labels"], [one["box"] for one in shown["labels"]]
    texts = [" · ".join(label["lines"]) for label in labels]
    assert len(set(texts)) == len(texts)
    for label, text in zip(labels, texts):
        start, cut, _ = text.partition("…")
        assert any(one.startswith(start) if cut else one == text for one in front)
        assert cut == "" or cuts and len(start) > 15
        box = label["box"]
        assert area["left"] <= box["left"] and box["right"] <= area["right"]
        assert area["top"] <= box["top"] and box["bottom"] <= area["bottom"]
        assert all(lie_apart(box, other) for other in boxes if other is not box)
        for x, y in shown["points"]:
            assert lie_apart(box, {"left": x - 4, "right": x + 4, "top": y - 4, "bottom": y + 4})
        # A character of 11 pixels is some 10 pixels of ink, of which about a half are full ones.
        assert label["ink"] > 3 * len(text), label
    return len(labels)


def front_of(page):
    """The swept keys, and the values of each combination of the front."""
    axes = [heading for heading, _ in page.tables["Combinations"][0] if "." in heading[1:-1]]
    return axes, [" · ".join(row[axis][0] for axis in axes)
                  for row in table(page, "Combinations") if number(row["front"])]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["plain", "one", "hostile"])
def test_points_of_the_front_say_which_combination_they_are(swept, opened, name, width, dark):
    text = parsed(swept, name)
    axes, front = front_of(text)
    assert ", with the values of " + " · ".join(axes) in "".join(text.texts)
    shown = opened(name, width=width, dark=dark).evaluate(LABELS)
    count = check_labels(shown, front, name == "hostile" and width == 390)
    assert count >= min(3 if name == "plain" else math.inf, len(front))


@pytest.mark.parametrize("width, least, most", [(390, 5, 40), (1280, 15, 99)])
def test_where_the_front_is_crowded_some_labels_are_left_out(swept, browser, tmp_path, width, least,
                                                             most):
    # A hundred points on a line, the two seeds of each on both sides of it.
    paths = changed(swept("large")[0], tmp_path, {
        "test_accuracy": lambda old: numpy.arange(len(old)) // 2 / len(old),
        "step_ms": lambda old: numpy.arange(len(old)) / 2 + 10})
    _, front = front_of(parsed(lambda _: paths, "crowded"))
    page = chromium.Page(browser, paths[1], width=width)
    assert len(front) == 100 and page.problems == []
    assert least <= check_labels(page.evaluate(LABELS), front, False) <= most
    page.close()


def open_tall(opened, name, **options):
    """A window that all charts are in sight of, once they are drawn."""
    page = opened(name, **options)
    page.call("Emulation.setDeviceMetricsOverride", width=options.get("width", 1280), height=9000,
              deviceScaleFactor=1, mobile=False)
    page.evaluate("""new Promise((done) => {
        const look = () => Array.from(document.querySelectorAll('.multiples canvas'))
            .every((canvas) => Chart.getChart(canvas)) ? done(true) : setTimeout(look, 20);
        look();
    })""")
    return page


SMALL = "Array.from(document.querySelectorAll('.multiples canvas'), "


@pytest.mark.parametrize("width, dark", [(1280, False), (1280, True), (360, False)])
def test_every_combination_has_its_curves_drawn(swept, opened, width, dark):
    page = open_tall(opened, "curves", width=width, dark=dark)
    inks = page.evaluate(SMALL + INK + ")")
    expected = curves(swept, "curves")
    assert len(inks) == len(expected)
    for (_, seeds), (training, validation) in zip(expected, inks):
        # A line of five epochs is some 100 pixels long; one that ended after one is a dot of 12.
        ended = len(seeds[0][1]["train_loss"]) == 1
        assert training + validation > (8 if ended else 60), (training, validation)
    assert sum(validation for _, validation in inks) > 100 * len(inks) / 2
    assert page.evaluate("document.querySelectorAll('.multiples figure').length") == 16
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.problems == []


def test_charts_have_axes_in_common(opened):
    page = open_tall(opened, "curves")
    ranges = page.evaluate(SMALL + "(canvas) => { const { x, y } = Chart.getChart(canvas).scales;"
                           "return [x.min, x.max, y.min, y.max].join(); })")
    assert len(ranges) > 2 and len(set(ranges)) == 1


def test_charts_out_of_sight_are_not_drawn(opened):
    page = opened("large")
    drawn = page.evaluate(SMALL + "(canvas) => Chart.getChart(canvas) !== undefined)")
    assert len(drawn) == 100 and drawn.count(True) < 30


def values(page, index):
    return page.evaluate(f"document.querySelector('[data-index=\"{index}\"] .values').innerText")\
        .split()


def test_a_slider_tells_the_values_of_an_epoch_in_all_charts(swept, opened):
    page = opened("curves")
    page.evaluate("document.querySelector('input[type=range]').focus()")
    for epoch in [5, 4]:
        for index, seeds in curves(swept, "curves"):
            shortest = min(len(curve["train_loss"]) for curve in counted(seeds))
            at = min(epoch, shortest) - 1
            train, validation = (numpy.mean([curve[column][at] for curve in counted(seeds)])
                                 for column in ["train_accuracy", "val_accuracy"])
            ended = ["at", str(shortest)] if shortest < epoch else []
            names = values(page, index)
            shown = [float(names.pop(i).rstrip("%")) for i in (1, 2)]
            assert names == ["train", "val.", *ended]
            # Two digits; a half may be rounded either way.
            assert numpy.allclose(shown, [100 * train, 100 * validation], atol=0.005001, rtol=0)
        page.press("ArrowLeft", 37)


def test_pointing_at_a_chart_moves_the_epoch_of_all(opened):
    page = open_tall(opened, "curves")
    x, y = page.evaluate(
        "(() => { const chart = Chart.getChart(document.querySelectorAll('.multiples canvas')[0]);"
        "const box = chart.canvas.getBoundingClientRect();"
        "return [box.x + chart.scales.x.getPixelForValue(2.2), box.y + box.height / 2]; })()")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    page.evaluate("new Promise((done) => setTimeout(done, 200))")
    assert page.evaluate("document.querySelector('output').value") == "2"
    assert page.evaluate("document.querySelector('input[type=range]').value") == "1"


def test_loss_can_be_shown_instead(swept, opened):
    page = open_tall(opened, "curves")
    page.evaluate("(() => { const select = document.querySelector('select');"
                  "select.value = 'loss'; select.dispatchEvent(new Event('change')); })()")
    index, seeds = curves(swept, "curves")[0]
    shown = values(page, index)
    for text, column in zip(shown[1::2], ["train_loss", "val_loss"]):
        mean = numpy.mean([curve[column][-1] for curve in counted(seeds)])
        assert math.isclose(float(text), mean, rel_tol=1e-3)
    assert max(page.evaluate(SMALL + INK + ")")[0]) > 60


def test_a_file_without_curves_has_a_page_without_charts_of_them(swept, browser, tmp_path):
    old = tmp_path / "old.h5"
    old.write_bytes(swept("plain")[0].read_bytes())
    with h5py.File(old, "r+") as file:
        del file["curves"]
    subprocess.run([os.environ["COLONNADE"], "report", "old.h5"], check=True, cwd=tmp_path,
                   stdout=subprocess.DEVNULL)
    page = chromium.Page(browser, tmp_path / "old.html")
    assert "The file holds no curves" in page.evaluate("document.body.innerText")
    assert page.evaluate("document.querySelectorAll('canvas').length") == 1
    assert page.evaluate(INK + FRONT)[0] > 40 and page.problems == []
    page.close()


@pytest.mark.parametrize("dark", [False, True])
def test_numbers_of_maps_can_be_read(opened, dark):
    contrast = opened("plain", dark=dark).evaluate(f"({chromium.CONTRAST})('.map td[data-value]')")
    assert contrast > 3.6  # where the page's ink and that of the strong cells meet


def test_charts_follow_a_change_of_the_colour_scheme(opened):
    page = opened("plain")
    page.call("Emulation.setEmulatedMedia",
              features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page.evaluate("new Promise((done) => setTimeout(done, 200))")
    assert page.evaluate(INK + FRONT)[0] > 40 and page.problems == []


def test_pointing_at_a_point_shows_its_settings(opened):
    page = opened("plain")
    place = page.evaluate(
        "(() => { const chart = Chart.getChart(document.querySelector('canvas'));"
        "chart.canvas.scrollIntoView();"
        "const point = chart.data.datasets[0].data[0];"
        "const box = chart.canvas.getBoundingClientRect();"
        "return [box.x + chart.scales.x.getPixelForValue(point.x),"
        "box.y + chart.scales.y.getPixelForValue(point.y), point.index]; })()")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    page.evaluate("new Promise((done) => setTimeout(done, 200))")
    title = page.evaluate("Chart.getChart(document.querySelector('canvas')).tooltip.title")
    row = page.evaluate("Array.from(document.querySelectorAll('.combinations tbody tr')"
                        f"[{place[2]}].querySelectorAll('.setting'), (cell) => cell.textContent)")
    assert title[:4] == [f"{axis} {value}" for axis, value in zip(AXES, row)]


def test_two_hundred_rows_open_in_under_two_seconds(opened):
    page = opened("large")
    assert page.evaluate("document.querySelectorAll('.rows tbody tr').length") == 200
    assert page.evaluate("document.querySelectorAll('.multiples canvas').length") == 100
    assert chromium.opening_seconds(lambda: opened("large"), limit=2) < 2


def test_headings_sort_by_keyboard(opened):
    page = opened("large")
    column = "Array.from(document.querySelectorAll('.combinations tbody tr'), row => " \
             "Number(row.cells[3].dataset.value))"
    button = "document.querySelectorAll('.combinations th button')[3]"
    before = page.evaluate(column)
    page.evaluate(f"{button}.focus()")
    for expected, direction in [(sorted(before, reverse=True), "descending"),
                                (sorted(before), "ascending")]:
        page.press(" ", 32)
        assert page.evaluate(column) == expected
        assert page.evaluate(f"{button}.closest('th').getAttribute('aria-sort')") == direction
    assert before not in (sorted(before), sorted(before, reverse=True))


def test_without_scripts_the_numbers_stand(swept, opened):
    page = opened("plain", script=False)
    page.call("Emulation.setScriptExecutionDisabled", value=False)  # for the questions alone
    assert "chart needs JavaScript" in page.evaluate("document.body.innerText")
    assert page.evaluate("document.querySelectorAll('button').length") == 0
    assert page.evaluate("document.querySelector('.charts').offsetHeight") == 0
    assert page.evaluate("document.querySelectorAll('.combinations tbody tr').length") == 16
    assert page.evaluate("document.querySelectorAll('.map td[data-value]').length") > 12
    assert page.evaluate("document.querySelectorAll('.ends tbody tr').length") == \
        len(curves(swept, "plain")) > 0
