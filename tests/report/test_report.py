"""The report as a reader gets it: its numbers without scripts, and the page in a browser.

REPORT_PAGES names the program that writes made-up runs' pages (pages.c), COLONNADE the program
itself. Python's own parser reads the numbers; what needs a browser is skipped without chromium.
"""
import html
import math
import os
import pathlib
import re
import subprocess

import pytest

import browser as chromium
from parsing import Parsed, close

NAMES = ["plain", "colour", "many", "long", "hostile", "begun"]
HOSTILE = ["<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "{{title}}",
           "\"quoted\" & 'single'", "broken \ufffd\ufffd( bytes", "ünïcödé 漢字", "-->",
           "&amp;lt;"]
MEGABYTE = 1 << 20


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    if "REPORT_PAGES" not in os.environ:
        pytest.skip("REPORT_PAGES names no program")
    folder = tmp_path_factory.mktemp("pages")
    subprocess.run([os.environ["REPORT_PAGES"], folder], check=True)
    return folder


def parsed(pages, name):
    return Parsed((pages / f"{name}.html").read_text(encoding="utf-8"))


def made_confusion(classes):
    """The formula of made.c."""
    matrix = [[0] * classes for _ in range(classes)]
    for i, row in enumerate(matrix):
        row[i] = 100
        for j, taken in enumerate([(i + 1) % classes, i - 1, 0 if i % 2 else i]):
            moved = 0 if taken % classes == i else 1 + (i * 5 + j * 3) % 9
            row[i] -= moved
            row[taken] += moved
    return matrix


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_well_formed_and_fetches_nothing(pages, name):
    page = parsed(pages, name)
    for tag, attributes in page.tags:
        for key in "src", "href":
            value = attributes.get(key, "#")
            assert value.startswith(("data:", "#")), f"<{tag} {key}={value[:80]}>"
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_small(pages, name):
    assert (pages / f"{name}.html").stat().st_size < (1 if name != "long" else 3) * MEGABYTE


def test_the_confusion_matrix_is_the_runs(pages):
    rows = parsed(pages, "plain").tables["Confusion matrix"]
    assert rows[0][1][0] == rows[1][0][0] == "T-shirt/top"
    shown = [[int(text.replace(",", "")) for text, _ in row[1:]] for row in rows[1:]]
    assert shown == made_confusion(10)


@pytest.mark.parametrize("name, classes", [("plain", 10), ("many", 100)])
def test_precision_recall_and_f1_are_the_runs(pages, name, classes):
    matrix, table = made_confusion(classes), parsed(pages, name).numbers("Classes")
    assert len(table) == classes
    for i, (count, precision, recall, f1) in enumerate(table.values()):
        assert count == 100
        assert close(precision, matrix[i][i] / sum(row[i] for row in matrix))
        assert close(recall, matrix[i][i] / 100)
        assert close(f1, 2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("name, classes", [("plain", 10), ("many", 100)])
def test_the_pairs_confused_most_come_first(pages, name, classes):
    matrix = made_confusion(classes)
    expected = sorted((-count, i, j) for i, row in enumerate(matrix) for j, count in enumerate(row)
                      if i != j and count)[:15]
    names = [row[0][0] for row in parsed(pages, name).tables["Classes"][1:]]
    rows = parsed(pages, name).tables["Confused most"][1:]
    assert [(-int(row[2][1]), names.index(row[0][0]), names.index(row[1][0])) for row in rows] == \
        expected


def mistakes(page):
    """(true class, predicted, its name, probability) of each that the page shows."""
    shown = [(int(attributes["data-actual"]), int(attributes["data-predicted"]))
             for tag, attributes in page.tags if tag == "li" and "data-actual" in attributes]
    chances = [float(attributes["data-value"]) for tag, attributes in page.tags
               if tag == "span" and "data-value" in attributes][:len(shown)]
    return [(*pair, chance) for pair, chance in zip(shown, chances)]


def test_the_worst_mistakes_are_the_runs(pages):
    matrix = made_confusion(10)
    pairs = [(i, j) for k in range(3) for i in range(10) for j in range(10)
             if i != j and matrix[i][j] > k]
    shown = mistakes(parsed(pages, "plain"))
    assert [pair[:2] for pair in shown] == pairs and len(pairs) > 24
    for i, (_, _, chance) in enumerate(shown):
        assert math.isclose(chance, 0.999 - 0.001 * i, rel_tol=1e-8)


def test_the_network_is_the_graphs(pages):
    rows = parsed(pages, "plain").tables["Network"]
    shown = [(row[0][0], row[1][0], row[4][0], row[5][0], *(int(cell[1]) for cell in row[6:]))
             for row in rows[1:-1]]
    assert shown == [
        ("input", "data", "1×28×28", "0,0,0,0", 0, 0, 4 * 784),
        ("conv1", "conv", "6×28×28", "2,2,2,2", 156, 25 * 6 * 784, 4 * 6 * 784),
        ("pool1", "maxpool", "6×14×14", "0,0,0,0", 0, 0, 4 * 6 * 196),
        ("conv2", "conv", "16×10×10", "0,0,0,0", 2416, 150 * 16 * 100, 4 * 1600),
        ("pool2", "maxpool", "16×5×5", "0,0,0,0", 0, 0, 4 * 400),
        ("fc1", "dense", "120×1×1", "0,0,0,0", 48120, 48000, 480),
        ("fc2", "dense", "84×1×1", "0,0,0,0", 10164, 10080, 336),
        ("fc3", "dense", "10×1×1", "0,0,0,0", 850, 840, 40),
    ]
    assert [int(value) for _, value in rows[-1][1:]] == \
        [sum(row[column] for row in shown) for column in (4, 5, 6)]
    assert rows[2][3][0] == "filters 6, kernel 5, padding same, activation relu"


def test_inputs_are_named_as_the_user_wrote_them(pages):
    rows = {row[0][0]: row[2][0] for row in parsed(pages, "colour").tables["Network"]}
    assert rows["right"] == "rectified" and rows["sum"] == "left, right"


def drawn(page):
    """What the graph's drawing says: {what: [numbers by row]}."""
    numbers = {}
    for tag, attributes in page.tags:
        if tag == "text" and "data-what" in attributes:
            numbers.setdefault(attributes["data-what"], []).append(float(attributes["data-value"]))
    return numbers


@pytest.mark.parametrize("name", ["plain", "colour"])
def test_the_drawing_has_the_tables_numbers(pages, name):
    page = parsed(pages, name)
    rows = page.tables["Network"][1:-1]
    expected = {what: [float(row[column][1]) for row in rows]
                for what, column in [("parameters", 6), ("macs", 7), ("bytes", 8)]}
    if name == "colour":
        expected["time"] = [3.0 * (i + 1) for i in range(len(rows))]
        assert [(row[9][1], row[10][1]) for row in rows] == \
            [(str(i + 1), str(2 * i + 2)) for i in range(len(rows))]
        assert page.tables["Network"][-1][-2:] == [("45", "45"), ("90", "90")]
    assert drawn(page) == expected


def test_edges_that_skip_nodes_have_lanes_of_their_own(pages):
    paths = [attributes["d"] for tag, attributes in parsed(pages, "colour").tags
             if tag == "path" and attributes["class"] == "skip-edge"]
    # rectified to right, left to sum: rows 3 to 5 and 4 to 6, each begun before the other ends.
    lanes = {re.search(r"Q(\d+) ", path).group(1) for path in paths}
    assert len(paths) == len(lanes) == 2
    assert not any(tag == "path" and attributes["class"] == "skip-edge"
                   for tag, attributes in parsed(pages, "plain").tags)


def test_the_headline_is_the_runs(pages):
    shown = parsed(pages, "plain").headline
    right = sum(row[i] for i, row in enumerate(made_confusion(10)))
    assert shown["Test accuracy"] == (f"{right / 10:.2f}%", f"{right / 1000:.9g}")
    assert shown["Test loss"] == ("0.3125", "0.3125")
    assert shown["Parameters"] == ("61,706", "61706")
    assert shown["Epochs"] == ("12", "12")
    assert shown["Training time"] == ("6.4 s", "6.36")


@pytest.mark.parametrize("name, epochs, steps", [("plain", 12, 240), ("long", 1000, 938000)])
def test_charts_and_table_hold_every_epoch(pages, name, epochs, steps):
    page = parsed(pages, name)
    table, data = page.numbers("Epochs"), page.data()
    columns = ["train_loss", "val_loss", "train_accuracy", "val_accuracy", "lr",
               "images_per_second", "seconds"]
    assert list(table) == [str(i + 1) for i in range(epochs)]
    assert data["epoch"]["epoch"] == list(range(1, epochs + 1))
    for i, row in enumerate(table.values()):
        for column, value in zip(columns, row):
            # Seven digits are written for charts.
            assert math.isclose(data["epoch"][column][i], value, rel_tol=1e-6)
    assert data["step"]["step"][-1] == steps
    assert len(data["step"]["step"]) == min(steps, 3992)


def test_a_point_for_several_steps_says_so(pages):
    said = "the mean of 235 steps"
    assert said in "".join(parsed(pages, "long").texts)
    assert "the mean of" not in "".join(parsed(pages, "plain").texts)
    step = parsed(pages, "long").data()["step"]
    assert all(least <= mean <= greatest for least, mean, greatest in
               zip(step["loss_least"], step["loss"], step["loss_greatest"]))
    assert step["step"][:2] == [235, 470]


def test_names_are_shown_as_they_are(pages):
    page = parsed(pages, "hostile")
    shown = [row[0][0] for row in page.tables["Classes"][1:]]
    assert shown[:len(HOSTILE)] == HOSTILE
    assert [row[0][0] for row in page.tables["Confusion matrix"][1:]] == shown
    assert [cell[0] for cell in page.tables["Confusion matrix"][0][1:]] == shown
    assert sum(tag == "script" for tag, _ in page.tags) == 5
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert "path = /data/<script>alert(3)</script>" in "".join(page.texts)


def test_a_run_without_results_says_so(pages):
    page = parsed(pages, "begun")
    text = "".join(page.texts)
    for sentence in ("No step has been taken yet.", "The test split has not been scored yet.",
                     "The network has no convolution.", "The run file holds no test images yet."):
        assert sentence in text
    assert page.headline["Test accuracy"] == ("–", None)


# What follows needs a browser.

@pytest.fixture
def opened(pages, browser):
    tabs = []

    def open_page(name, **options):
        tabs.append(chromium.Page(browser, pages / f"{name}.html", **options))
        return tabs[-1]

    yield open_page
    for tab in tabs:
        tab.close()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", NAMES)
def test_it_opens_without_a_word_and_fits_the_screen(opened, name, width, dark):
    page = opened(name, width=width, dark=dark)
    assert page.problems == []
    assert [url[:30] for url in page.requests if not url.startswith(("data:", "file:"))] == []
    assert sum(url.startswith("file:") for url in page.requests) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(level) for level in background[4:-1].split(",")]
    assert max(levels) < 64 if dark else min(levels) > 192


# Pixels of each chart that are blue, as its first curve is, in whatever dilution; all else is grey
# or orange.
INK = """Array.from(document.querySelectorAll('canvas'), (canvas) => {
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let i = 0; i < pixels.length; i += 4)
        count += pixels[i + 2] > pixels[i] + 60 && pixels[i + 3] > 64;
    return count;
})"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["plain", "long"])
def test_every_chart_has_its_curve(opened, name, dark):
    ink = opened(name, dark=dark).evaluate(INK)
    # A curve crosses the chart, which is some 450 pixels wide.
    assert len(ink) == 6 and min(ink) > 400, ink


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("selector", [".confusion td.right", ".confusion td.wrong", ".key"])
def test_numbers_on_colours_can_be_read(opened, selector, dark):
    # The page's ink and that of the strong cells meet at 3.7; text of this size may have 3.
    assert opened("plain", dark=dark).evaluate(f"({chromium.CONTRAST})('{selector}')") > 3.6


def test_charts_follow_a_change_of_the_colour_scheme(opened):
    page = opened("plain")
    page.call("Emulation.setEmulatedMedia",
              features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page.evaluate("new Promise((done) => setTimeout(done, 200))")
    assert min(page.evaluate(INK)) > 400
    assert page.problems == []


def test_pointing_at_a_curve_shows_its_values(opened):
    page = opened("plain")
    # The loss of epoch 3, by the table.
    epoch = page.evaluate("Array.from(document.querySelectorAll('.epochs tbody tr')[2].cells,"
                          "(cell) => cell.textContent)")
    place = page.evaluate(
        "(() => { const chart = Chart.getChart(document.querySelector('canvas'));"
        "const box = chart.canvas.getBoundingClientRect();"
        "return [box.x + chart.scales.x.getPixelForValue(3), box.y + box.height / 2]; })()")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    page.evaluate("new Promise((done) => setTimeout(done, 200))")
    shown = page.evaluate("(() => { const tooltip = Chart.getChart(document.querySelector("
                          "'canvas')).tooltip; return [tooltip.opacity, tooltip.title[0],"
                          "...tooltip.body.map((item) => item.lines[0])]; })()")
    assert shown == [1, "epoch 3", f"training {epoch[1]}", f"validation {epoch[2]}"]


def test_a_thousand_epochs_open_in_under_two_seconds(opened):
    assert chromium.opening_seconds(lambda: opened("long"), limit=2) < 2


def test_headings_sort_by_keyboard(opened):
    page = opened("plain")
    column = "Array.from(document.querySelectorAll('.classes tbody tr'), row => " \
             "Number(row.cells[2].dataset.value))"
    button = "document.querySelectorAll('.classes th button')[2]"
    before = page.evaluate(column)
    assert page.evaluate(f"{button}.tagName") == "BUTTON"
    page.evaluate(f"{button}.focus()")
    for expected, direction in [(sorted(before, reverse=True), "descending"),
                                (sorted(before), "ascending")]:
        page.press(" ", 32)
        assert page.evaluate(column) == expected
        assert page.evaluate(f"{button}.closest('th').getAttribute('aria-sort')") == direction
    assert before not in (sorted(before), sorted(before, reverse=True))


SHOWN = "Array.from(document.querySelectorAll('.worst li:not([hidden])')," \
        "(image) => [Number(image.dataset.actual), Number(image.dataset.predicted)])"


def test_a_cell_shows_its_mistakes_by_keyboard(opened):
    page, matrix = opened("plain"), made_confusion(10)
    assert len(page.evaluate(SHOWN)) == 24
    page.evaluate("document.querySelector('.confusion tbody th').focus()")
    for key, code in [("ArrowDown", 40)] * 3 + [("ArrowRight", 39)] * 3 + [("ArrowUp", 38)] * 20:
        page.press(key, code)
        # Down to class 3, over the cells of class 0 and 1 to that of 2, up to class 0.
    assert page.evaluate("document.activeElement.title") == "T-shirt/top taken for Pullover: " \
        f"{matrix[0][2]} of 100"
    for _ in range(3):
        page.press("ArrowDown", 40)
    page.press("Enter", 13)
    assert page.evaluate(SHOWN) == [[3, 2]] * min(3, matrix[3][2])
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    assert f"Dress taken for Pullover: {matrix[3][2]}; " in \
        page.evaluate("document.querySelector('.chosen').textContent")
    for _ in range(3):
        page.press("ArrowLeft", 37)
    page.press(" ", 32)
    expected = [[3, j] for k in range(3) for j in range(10) if j != 3 and matrix[3][j] > k]
    assert page.evaluate(SHOWN) == expected
    assert page.evaluate("document.querySelectorAll('.confusion [tabindex=\"0\"]').length") == 1


def test_a_click_on_a_cell_shows_its_mistakes(opened):
    page, matrix = opened("hostile"), made_confusion(10)
    for row, column, expected in [(5, 6, [[5, 6]] * min(3, matrix[5][6])), (5, 5, None),
                                  (2, 9, [])]:
        x, y = page.evaluate(
            f"(() => {{ const cell = document.querySelector('.confusion').tBodies[0].rows[{row}]"
            f".cells[{column + 1}]; cell.scrollIntoView({{block: 'center', behavior: 'instant'}});"
            "const box = cell.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()")
        before = page.evaluate(SHOWN)
        for kind in "mousePressed", "mouseReleased":
            page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left",
                      clickCount=1)
        # The diagonal has none to show.
        assert page.evaluate(SHOWN) == (before if expected is None else expected)
    assert "none of them is kept" in page.evaluate("document.querySelector('.chosen').textContent")
    assert page.problems == []


def test_a_class_can_be_chosen_where_the_matrix_is_a_picture(opened):
    page = opened("many")
    assert page.evaluate("document.querySelectorAll('.gallery option').length") > 30
    page.evaluate("(() => { const select = document.querySelector('.gallery select');"
                  "select.value = '7'; select.dispatchEvent(new Event('change')); })()")
    shown = page.evaluate(SHOWN)
    assert shown and all(actual == 7 for actual, _ in shown)
    page.evaluate("document.querySelector('.mistakes tbody button').click()")
    row = page.evaluate("(({actual, predicted}) => [Number(actual), Number(predicted)])("
                        "document.querySelector('.mistakes tbody tr').dataset)")
    assert all(pair == row for pair in page.evaluate(SHOWN))


def test_tab_reaches_everything_and_is_seen(opened):
    page, reached = opened("plain"), []
    for _ in range(80):
        page.press("Tab", 9)
        tag, outline = page.evaluate("[document.activeElement.className || document.activeElement."
                                     "tagName, getComputedStyle(document.activeElement).outline]")
        if tag == "BODY":
            break
        assert "solid 2px" in outline, f"{tag}: {outline}"
        reached.append(tag)
    assert reached.count("A") == 9 and reached[0] == "skip"
    # Headings, and the pairs confused most; the epochs' table is folded away.
    assert reached.count("BUTTON") == 9 + 15
    assert reached.count("TH") == 1 and reached.count("SELECT") == 1  # matrix, mistakes' class
    assert reached.count("scroll graph") == 1
    assert reached.count("SUMMARY") == 2 and reached.count("scroll") == 5


def test_without_scripts_the_numbers_stand_and_the_charts_are_excused(pages, opened):
    page = opened("plain", script=False)
    page.call("Emulation.setScriptExecutionDisabled", value=False)  # for the questions alone
    assert "charts need JavaScript" in page.evaluate("document.body.innerText")
    assert page.evaluate("document.querySelectorAll('button').length") == 0
    assert page.evaluate("document.querySelector('.charts').offsetHeight") == 0
    assert page.evaluate("document.querySelectorAll('.confusion td.right').length") == 10
    assert len(page.evaluate(SHOWN)) == len(mistakes(parsed(pages, "plain"))) > 24


def test_pictures_are_read_by_the_browser(opened):
    page = opened("many")
    sizes = page.evaluate("Array.from(document.images, (image) => [image.complete, "
                          "image.naturalWidth, image.naturalHeight])")
    assert sizes[0] == [True, 100, 100]
    kept = page.evaluate("document.querySelectorAll('.worst img').length")
    assert kept == 300 and sizes[1:301] == [[True, 16, 16]] * 300
    assert sizes[301:557] == [[True, 15, 3]] * 256
    # Three test images and three nodes' maps of each; seven covered images, twice; samples.
    maps = sizes[557:557 + 3 + 3 * 3]
    assert [size[1:] for size in maps[3::3]] == [[8 * 15 - 1, 2 * 15 - 1], [32, 10], [32, 4]]
    assert len(sizes) == 557 + 12 + 14 + 12 and sizes[-26:] == [[True, 16, 16]] * 26


# Shades of a picture, by a canvas of its own.
SHADES = """((selector) => Array.from(document.querySelectorAll(selector), (image) => {
    const canvas = document.createElement('canvas'), shades = new Set();
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    for (let i = 0; i < pixels.length; i += 4)
        shades.add(pixels.slice(i, i + 4).join());
    return shades.size;
}))"""


def test_feature_maps_and_occlusion_are_drawn(opened):
    page = opened("plain")
    rows = page.evaluate("Array.from(document.querySelectorAll('.features tbody th'),"
                         "(cell) => cell.firstChild.textContent)")
    assert rows == ["conv1", "pool1", "conv2", "pool2", "fc1", "fc2", "fc3"]
    assert min(page.evaluate(f"{SHADES}('.features tbody img')")) >= 8
    covered = page.evaluate(f"{SHADES}('.occlusion img + img')")
    assert len(covered) == 3 + 4 and min(covered) > 50  # golden samples, and the worst mistakes


def test_the_graph_is_drawn(opened):
    page = opened("colour")
    box = page.evaluate("(() => { const box = document.querySelector('.graph')"
                        ".getBoundingClientRect(); return [box.x + scrollX, box.y + scrollY,"
                        "box.width, box.height]; })()")
    data = page.call("Page.captureScreenshot", format="png", captureBeyondViewport=True,
                     clip=dict(zip(("x", "y", "width", "height"), box), scale=1))["data"]
    orange, blue = page.evaluate(
        "new Promise((done) => { const image = new Image(); image.onload = () => {"
        "const canvas = document.createElement('canvas'); canvas.width = image.width;"
        "canvas.height = image.height; const context = canvas.getContext('2d');"
        "context.drawImage(image, 0, 0);"
        "const at = context.getImageData(0, 0, image.width, image.height).data;"
        "let orange = 0, blue = 0; for (let i = 0; i < at.length; i += 4) {"
        "orange += at[i] > at[i + 2] + 40; blue += at[i + 2] > at[i] + 15; }"
        f"done([orange, blue]); }}; image.src = 'data:image/png;base64,{data}'; }})")
    # Lanes of two rows of 46 pixels and bars of time; bars of parameters, work and memory.
    assert orange > 2 * 92 + 9 * 18 and blue > 3 * 9 * 18


# And a real run.

@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    if not os.path.exists(os.environ.get("COLONNADE", "")):
        pytest.skip("COLONNADE names no program")
    h5py = pytest.importorskip("h5py")
    folder = tmp_path_factory.mktemp("run")
    config = folder / "small.ini"
    config.write_text(
        "[data]\nsource = synthetic\nshape = 3x12x12\nclasses = 4\ncount = 256\n"
        "validation = 0.25\n[train]\nepochs = 3\nbatch = 16\nlr = 0.0002\n"
        "[conv]\ntype = conv\nfilters = 8\nkernel = 3\nactivation = relu\n"
        "[pool]\ntype = maxpool\nkernel = 2\n[fc]\ntype = dense\nunits = classes\n")
    run, page = folder / "small.h5", folder / "small.html"
    for arguments in ["train", config, "--out", run, "--quiet", "--profile"], ["report", run, "-o", page]:
        subprocess.run([os.environ["COLONNADE"], *arguments], check=True, cwd=folder)
    return h5py.File(run), Parsed(page.read_text(encoding="utf-8")), page


def test_a_trained_runs_page_says_what_its_file_says(trained):
    file, page, _ = trained
    test = file["evaluation/test"]
    assert close(float(page.headline["Test accuracy"][1]), test.attrs["accuracy"])
    assert close(float(page.headline["Test loss"][1]), test.attrs["loss"])
    weights = sum(values.size for values in file["state_dict"].values())
    assert page.headline["Parameters"][1] == str(weights)
    shown = [[int(value) for _, value in row[1:]] for row in page.tables["Confusion matrix"][1:]]
    assert shown == test["confusion"][()].tolist()
    for i, (_, *scores) in enumerate(page.numbers("Classes").values()):
        for column, score in zip(["precision", "recall", "f1"], scores):
            assert close(score, test[column][i])
    for i, row in enumerate(page.numbers("Epochs").values()):
        columns = ["train_loss", "val_loss", "train_accuracy", "val_accuracy", "lr",
                   "images_per_second", "seconds"]
        for column, value in zip(columns, row):
            assert close(value, float(file["metrics/epoch"][column][i])), column


def test_a_trained_runs_environment_is_that_of_its_file(trained):
    file, _, path = trained
    text = html.unescape(path.read_text(encoding="utf-8"))
    for label, name in [("Colonnade", "colonnade_version"), ("Machine", "machine"),
                        ("BLAS", "blas"), ("BLAS kernel", "blas_kernel")]:
        assert f"<dt>{label}</dt><dd>{file.attrs[name]}</dd>" in text


def test_a_trained_runs_mistakes_are_those_of_its_file(trained):
    file, page, _ = trained
    worst = file["evaluation/test/worst"]
    shown = mistakes(page)
    assert len(shown) == len(worst["loss"]) == len(worst["images"]) > 0
    for i, (actual, predicted, chance) in enumerate(shown):
        assert (actual, predicted) == (worst["actual"][i], worst["predicted"][i])
        assert close(chance, worst["probability"][i])
    losses = list(worst["loss"])
    assert losses == sorted(losses, reverse=True)
    confusion = file["evaluation/test/confusion"][()]
    assert len(shown) == min(240, confusion.sum() - confusion.trace())


def test_a_trained_runs_times_are_those_of_its_file(trained):
    file, page, _ = trained
    profile = file["profile"]
    assert [row[0][0] for row in page.tables["Network"][1:-1]] == \
        [name.decode() for name in profile["node"]]
    shares = 1e3 / profile.attrs["threads"] / profile.attrs["steps"]
    for i, row in enumerate(page.tables["Network"][1:-1]):
        assert close(float(row[9][1]), profile["forward"][i] * shares)
        assert close(float(row[10][1]), profile["backward"][i] * shares)


def test_what_the_network_says_to_its_samples_is_what_its_file_says(trained):
    file, page, path = trained
    logits = file["golden/logits"][()].astype(float)
    exponentials = [[math.exp(value - max(row)) for value in row] for row in logits]
    chances = [max(row) / sum(row) for row in exponentials]
    for section, count in ("features", 3), ("occlusion", 4):
        text = path.read_text(encoding="utf-8").split(f'<section id="{section}"')[1]
        shown = re.findall(r'test image (\d+): taken for <b>(\d+)</b>, <span data-value="(.*?)"',
                           text.split("</section>")[0])
        assert len(shown) == count
        for i, (image, taken, chance) in enumerate(shown):
            assert (int(image), int(taken)) == (i, list(logits[i]).index(max(logits[i])))
            assert math.isclose(float(chance), chances[i], abs_tol=1e-5)  # of another cut's logits


def test_a_trained_runs_page_opens_in_the_browser(trained, browser):
    page = chromium.Page(browser, trained[2], width=360)
    assert page.problems == []
    assert min(page.evaluate(INK)) > 200  # of 360, less the axis
    page.close()
