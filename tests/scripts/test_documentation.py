"""docs/config.md knows every key, node type and choice of the sources, README.md every package that
is installed, no link is dead, and what README.md and docs/run-file.md say in Python and in whole
configs runs as it stands there.

The key tables are read out of the C sources: a row is "NAME", KEY_KIND or .name = "NAME",
.kind = KEY_KIND, or a macro that holds one.
"""

import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = {path: path.read_text() for path in sorted((ROOT / "engine").rglob("*.[ch]"))}
CONFIG_PAGE = (ROOT / "docs" / "config.md").read_text()

ROW = re.compile(r'"(\w+)",[\s\\]*(?:\.kind = )?KEY_[A-Z]+|\b(\w+_KEY)\b')
TABLE = re.compile(r"const struct (?:key|augmentation) (\w+)\[\] = \{(.*?)\n\};", re.DOTALL)
MACRO = re.compile(r"#define (\w+_KEY)\b((?:.*\\\n)*.*\n)")
# A node type's row, whole or by a file's macro.
NODE = re.compile(r"const struct node_type node_(\w+) = \{(.*?)\n\};"
                  r"|^\w+_TYPE\((\w+),(.*?)\);$", re.DOTALL | re.MULTILINE)
WORDS = re.compile(r"const char \*const (\w+)\[\] = \{(.*?)\}", re.DOTALL)

# Tables that belong to no node type, by the page's heading.
HEADINGS = {"run_keys": "[run]", "train_keys": "[train]", "data_keys": "[data]",
            "sweep_keys": "[sweep]", "augmentations": "[augment]"}


def code(text):
    """The words that stand in `text` as code of their own."""
    return set(re.findall(r"`([^`\n]+)`", text))


def page_sections():
    """Names in a heading's code to the text below it; "# Nodes" where a heading has no code."""
    parts = re.split(r"^#{1,3} (.+)$", CONFIG_PAGE, flags=re.MULTILINE)
    sections = {}
    for heading, body in zip(parts[1::2], parts[2::2]):
        for name in code(heading) or {"# " + heading}:
            sections[name] = body
    return sections


def macro_keys():
    found = {}
    for text in SOURCES.values():
        for name, body in MACRO.findall(text):
            found[name] = next(key for key, macro in ROW.findall(body) if key)
    return found


def node_rows(text):
    return [(name or macro, row or arguments) for name, row, macro, arguments in NODE.findall(text)]


def keys_of(table, macros):
    return [key or macros[macro] for key, macro in ROW.findall(table)]


def node_types():
    table = (ROOT / "engine" / "nodes" / "table.c").read_text()
    names = re.findall(r"^    X\((\w+)\)", table, re.MULTILINE)
    internal = {name for text in SOURCES.values() for name, row in node_rows(text)
                if ".internal = true" in row}
    return [name for name in names if name not in internal]


def documented_places():
    """(heading, key) of every row of every key table."""
    macros, places = macro_keys(), []
    for text in SOURCES.values():
        nodes = [(name, table) for name, row in node_rows(text)
                 for table in re.findall(r"(?:\.keys = |WITH_KEYS\()(\w+)", row)]
        for table, rows in TABLE.findall(text):
            headings = [name for name, its in nodes if its == table]
            for heading in headings or [HEADINGS.get(table, "# Nodes")]:
                places += [(heading, key) for key in keys_of(rows, macros)]
    return places


def relative_links():
    for page in sorted(ROOT.rglob("*.md")):
        parts = page.relative_to(ROOT).parts
        if any(part.startswith((".", "build")) for part in parts[:-1]):
            continue
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(<?([^)\s>]+)", text):
            if not re.match(r"[a-z][a-z0-9+.-]*:|#", target):
                yield page, target.split("#")[0]


def test_tables_are_found():
    places = documented_places()
    for place in [("[run]", "seed"), ("[data]", "source"), ("[train]", "lr"), ("conv", "activation"),
                  ("dense", "init"), ("avgpool", "ceil"), ("layernorm", "eps"), ("leaky_relu", "slope"),
                  ("# Nodes", "inputs"), ("[augment]", "erase")]:
        assert place in places
    rows = sum(text.count(".help = ") for text in SOURCES.values())
    assert len(places) > rows / 2, "rows of a form that this test does not know?"


@pytest.mark.parametrize("heading, key", documented_places())
def test_key_is_documented(heading, key):
    assert key in code(page_sections().get(heading, "")), (
        f"docs/config.md says nothing of `{key}` under {heading}")


@pytest.mark.parametrize("name", node_types())
def test_node_type_is_documented(name):
    assert name in page_sections(), f"docs/config.md has no heading with `{name}`"


def test_choices_are_documented():
    used = {name for text in SOURCES.values() for name in re.findall(r"\.choices = (\w+)", text)}
    lists = {name: re.findall(r'"(\w+)"', words) for text in SOURCES.values()
             for name, words in WORDS.findall(text) if name in used}
    assert used == set(lists), "a list of choices of a form that this test does not know?"
    missing = {word for words in lists.values() for word in words} - code(CONFIG_PAGE)
    assert not missing


def test_readme_lists_the_packages_that_are_installed():
    command = 'source scripts/packages.sh; echo "${test_packages[@]}" "${onnx_packages[@]}"'
    installed = subprocess.run(["bash", "-c", command], cwd=ROOT, text=True, check=True,
                               stdout=subprocess.PIPE).stdout.split()
    table = (ROOT / "README.md").read_text().split("| package (Debian) | for |\n| --- | --- |\n")[1]
    rows = table.split("\n\n")[0].splitlines()
    assert sorted(", ".join(row.split("|")[1].strip() for row in rows).split(", ")) == sorted(installed)


def test_links_lead_to_files():
    dead = [f"{page.relative_to(ROOT)}: {target}" for page, target in relative_links()
            if not (page.parent / target).exists()]
    assert not dead


def blocks(page, language):
    """The code of each fenced block of a page, with its name PAGE:LINE."""
    text = (ROOT / page).read_text()
    for found in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield pytest.param(found[1], id=f"{page}:{text.count(chr(10), 0, found.start()) + 1}")


# The images that stand in for MNIST's: few, and made by the program.
DATA = """[data]
source = synthetic
shape = 1x28x28
count = 256
"""

# After a block that plots: it has drawn a line through numbers.
DRAWN = """
import numpy
assert any(numpy.isfinite(line.get_ydata()).any() for line in plt.gca().lines)
"""


def colonnade(folder, *arguments):
    program = os.environ.get("COLONNADE")
    if not program:
        pytest.skip("COLONNADE names no program to test")
    result = subprocess.run([pathlib.Path(program).resolve(), *arguments], cwd=folder, text=True,
                            capture_output=True, timeout=120)
    assert result.returncode == 0, result.stderr


def write_config(path, text):
    """The config as it is, but of other images."""
    path.write_text(re.sub(r"^\[data\]\n(\w.*\n)+", DATA, text, count=1, flags=re.MULTILINE))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with the files that the blocks of Python open."""
    folder = tmp_path_factory.mktemp("files")
    for name in "fashion/lenet5.ini", "studies/stride-padding.ini":
        path = ROOT / "configs" / name
        write_config(folder / path.name, path.read_text())
    colonnade(folder, "train", "lenet5.ini", "--set", "train.epochs=2", "--profile", "--quiet")
    colonnade(folder, "pack", "lenet5.ini", "-o", "data.h5")
    colonnade(folder, "sweep", "stride-padding.ini", "--set", "sweep.conv2.stride=1",
              "--set", "sweep.seeds=1, 2", "--quiet")
    for name in "run.h5", "run.h5.live":
        shutil.copy(folder / "runs" / "lenet5-fashion.h5", folder / name)
    return folder


@pytest.mark.parametrize("code", [*blocks("README.md", "python"),
                                  *blocks("docs/run-file.md", "python")])
def test_python_runs_as_it_stands(code, request):
    for package in re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE):
        if not importlib.util.find_spec(package):
            pytest.skip(f"{package} is not installed")
    plots = "plt.plot" in code
    result = subprocess.run([sys.executable, "-c", code + DRAWN * plots], text=True,
                            cwd=request.getfixturevalue("files"), capture_output=True, timeout=120,
                            env={**os.environ, "MPLBACKEND": "Agg"})
    assert result.returncode == 0, result.stderr


def whole_configs():
    for page in "README.md", "docs/config.md":
        yield from (block for block in blocks(page, "ini") if "[data]" in block.values[0])


@pytest.mark.parametrize("config", whole_configs())
def test_whole_config_trains(config, tmp_path):
    write_config(tmp_path / "whole.ini", config)
    colonnade(tmp_path, "train", "whole.ini", "--set", "train.epochs=1", "--quiet")
