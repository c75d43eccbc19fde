"""A page's numbers, read by Python's own parser."""
import html.parser
import json
import math

VOID = {"meta", "link", "img", "br", "hr", "input", "col"}


class Parsed(html.parser.HTMLParser):
    """Tables by their box's label: rows of cells, each (text, data-value or None). `headline`:
    label to (text, data-value). Every tag has to be closed in its order."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.headline, self.tags, self.scripts = {}, {}, [], []
        self.label, self.cell, self.texts = None, None, []
        self.stack = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "div" and "scroll" in attributes.get("class", ""):
            self.label = attributes["aria-label"]
            assert self.label not in self.tables
            self.tables[self.label] = []
        elif tag == "tr":
            self.tables[self.label].append([])
        elif tag in ("td", "th", "dt", "dd"):
            self.cell = ["", attributes.get("data-value")]

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, f"</{tag}> closes something else"
        if tag in ("td", "th"):
            self.tables[self.label][-1].append(tuple(self.cell))
            self.cell = None
        elif tag == "dt":
            self.term, self.cell = self.cell[0], None
        elif tag == "dd":
            self.headline[self.term] = tuple(self.cell)
            self.cell = None

    def handle_data(self, data):
        if self.stack and self.stack[-1] == "script":
            self.scripts.append(data)
            return
        self.texts.append(data)
        if self.cell:
            self.cell[0] += data

    def numbers(self, label):
        """The table's body as {first cell: [numbers]}; nan where there is none."""
        return {row[0][0]: [math.nan if value is None else float(value) for _, value in row[1:]]
                for row in self.tables[label][1:]}

    def data(self):
        return json.loads(next(script for script in self.scripts if script.startswith("\n{")))


def close(a, b):
    """Nine digits are written."""
    return a == b or math.isnan(a) and math.isnan(b) or math.isclose(a, b, rel_tol=1e-8)
