"""docs/config.md knows every key, node type and choice of the sources, and no link is dead.

The key tables are read out of the C sources: a row is "NAME", KEY_KIND or .name = "NAME",
.kind = KEY_KIND, or a macro that holds one.
"""

import pathlib
import re

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


def test_links_lead_to_files():
    dead = [f"{page.relative_to(ROOT)}: {target}" for page, target in relative_links()
            if not (page.parent / target).exists()]
    assert not dead
