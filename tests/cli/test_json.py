"""docs/json.md names every key that `--json` prints, and no others."""
import pathlib
import re

import pytest

from conftest import CONFIG

PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "json.md").read_text()
SECTIONS = dict(zip(*[iter(re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)[1:])] * 2))
TIMES = SECTIONS["Times of a node"]

SWEEP = """
[sweep]
conv1.stride = 1, 2, 99
conv1.padding = valid
"""
FOLDER = CONFIG.replace("source = synthetic\nshape = 1x12x12\nclasses = 4\ncount = 256\n",
                        "source = folder\npath = .\nsize = 12\n")


def code(text):
    return set(re.findall(r"`(\w+)`", text))


def keys(item):
    """All keys of an object and of what is in it; `settings` has the user's own."""
    if isinstance(item, list):
        return set().union(*map(keys, item))
    if not isinstance(item, dict):
        return set()
    return set(item).union(*(keys(value) for name, value in item.items() if name != "settings"))


def write_folder(folder):
    """A copy, a blank image, and one that cannot be read."""
    for split, shift in ("train", 0), ("test", 5):
        for label in range(2):
            for i in range(3):
                path = folder / split / "ab"[label] / f"{i}.pgm"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = bytes((97 * x * (x + label + i + shift) + 31 * i) % 256
                               for x in range(144))
                path.write_bytes(b"P5 12 12 255 " + pixels)
    (folder / "test/a/copy.pgm").write_bytes((folder / "train/a/0.pgm").read_bytes())
    (folder / "train/a/blank.pgm").write_bytes(b"P5 12 12 255 " + bytes(144))
    (folder / "train/b/bad.pgm").write_bytes(b"P5 12 12 255 short")


def printed(program, verb):
    """Objects that hold between them all that the verb can print."""
    config = program.config()
    if verb == "train":
        return program.json("train", config, "--profile", "--set", "train.early_stop=5")
    if verb == "check":
        write_folder(program.folder)
        return program.json("check", program.config(text=FOLDER), status=1)
    if verb == "sweep":
        return program.json("sweep", program.config(text=CONFIG + SWEEP))
    if verb == "pack":
        return program.json("pack", config, "-o", "packed.h5")
    if verb == "bench":
        return program.json("bench", config, "--seconds", 0.1)
    if verb == "summary":
        return program.json("summary", config)
    program.run("train", config, "--quiet")
    if verb == "eval":
        return program.json("eval", "small.h5")
    write_folder(program.folder)
    return program.json("predict", "small.h5", "test")


def test_every_verb_that_takes_json_has_a_section(program):
    verbs = re.findall(r"^  (\w+) +[A-Z]", program.run("--help").stdout, re.MULTILINE)
    takes = {verb for verb in verbs if "--json" in program.run(verb, "--help").stdout}
    assert takes == {heading.strip("`") for heading in SECTIONS} - {"Times of a node"}


@pytest.mark.parametrize("verb", [name.strip("`") for name in SECTIONS if "`" in name])
def test_keys_are_those_of_the_page(program, verb):
    text = SECTIONS[f"`{verb}`"]
    if "#times-of-a-node" in text:
        text += TIMES
    found = keys(printed(program, verb))
    assert found <= code(text), "not on the page"
    rows = code(" ".join(re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)))
    assert rows <= found, "on the page alone"
