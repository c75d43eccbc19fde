#!/usr/bin/env python3
"""Breaks one line at a time of what a backward pass runs, and counts what the tests catch.

A mutant is a copy of the source with one line changed: a statement deleted, a sign flipped, a term
or factor dropped, a comparison or an index off by one, an accumulation dropped, an early return.
Functions are those that a node type's backward entries reach by calls (with --passes all, also those
of forward, plan and build). For each mutant only what it needs is compiled again; then the gradient
checks run (test_nodes), and if these pass, the suites of the file. A mutant that compiles to the
same program is none. What cannot change a result although the program differs stands in
equivalent.txt, each with its reason, and is left out.

The tree is copied first: the checkout is only read. Kernels are compiled with -O1 there, which is a
third of the time, for all instruction sets. Samples are drawn from --seed, from each file by its
share of mutants and at least --least-per-file.

Exit status: 0 where --least percent were caught, 1 where not, 2 where the tests fail unmutated."""
import argparse
import collections
import concurrent.futures
import dataclasses
import difflib
import hashlib
import math
import os
import pathlib
import queue
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

GRADIENT_CHECKS = "nodes"
SUITES = {  # of a file's own, after the gradient checks
    "kernels/activation.c": ["activation"],
    "kernels/batchnorm.c": ["normalization"],
    "kernels/convolution.c": ["convolution"],
    "kernels/depthwise.c": ["depthwise"],
    "kernels/element.c": ["element"],
    "kernels/exponential.h": ["activation", "loss"],
    "kernels/groupnorm.c": ["normalization"],
    "kernels/layernorm.c": ["normalization"],
    "kernels/loss.c": ["loss"],
    "kernels/lowered.h": ["convolution"],
    "kernels/lowering.c": ["lowering"],
    "kernels/lrn.c": ["normalization"],
    "kernels/pixels.c": ["convolution"],
    "kernels/pooling.c": ["pooling"],
    "kernels/product.c": ["convolution"],
    "kernels/taps.c": ["convolution"],
    "kernels/view.c": ["normalization"],
    "kernels/view.h": ["normalization"],
}
NODE_SUITES = ["graph"]  # of engine/nodes/

# ---- which functions ----


@dataclasses.dataclass
class Function:
    path: str
    name: str
    first: int  # line of `{`, counted from 0
    last: int  # line of `}`
    returns_nothing: bool
    is_static: bool


def without_comments(text):
    """Comments, strings and characters become blanks of the same length."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)


def functions_of(path, lines):
    """The house's layout: a function's braces stand alone in the first column."""
    found = []
    for first, line in enumerate(lines):
        if line != "{":
            continue
        start = first
        while start > 0 and lines[start - 1].strip() and not re.match(r"[}#]", lines[start - 1]) \
                and not lines[start - 1].endswith(";"):
            start -= 1
        head = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", " ".join(lines[start:first]))
        name = re.search(r"KERNEL\((\w+)\)|(\w+)\s*\(", head)
        if not name:
            continue
        last = next(i for i in range(first, len(lines)) if lines[i] == "}")
        found.append(Function(path, name.group(1) or name.group(2), first, last,
                              bool(re.search(r"\bvoid\s+(KERNEL\(|\w+\s*\()", head)),
                              "static" in head and path.endswith(".c")))
    return found


class Sources:
    def __init__(self, root):
        self.lines, self.functions = {}, []
        paths = sorted([*root.glob("kernels/*.[ch]"), *root.glob("engine/nodes/*.c")])
        for path in paths:
            name = str(path.relative_to(root))
            text = path.read_text()
            self.lines[name] = text.split("\n"), without_comments(text).split("\n")
            self.functions += functions_of(name, self.lines[name][1])
        self.by_name = collections.defaultdict(list)
        for function in self.functions:
            self.by_name[function.name].append(function)

    def called(self, caller_path, name):
        own = [f for f in self.by_name[name] if f.path == caller_path]
        return own or [f for f in self.by_name[name] if not f.is_static]

    def roots(self, passes):
        entries = r"backward\w*|prepare" if passes == "backward" else \
            r"backward\w*|prepare|forward\w*|plan|build|monotone|epilogue"
        for path, (_, code) in self.lines.items():
            # The loss's forward pass leaves its gradient.
            wanted = entries + "|forward" if path.endswith("/loss.c") else entries
            for line in code if path.startswith("engine/nodes/") else []:
                for match in re.finditer(rf"\.(?:{wanted}) = (\w+)", line):
                    yield from self.called(path, match.group(1))

    def reached(self, passes):
        waiting, seen = list(self.roots(passes)), {}
        while waiting:
            function = waiting.pop()
            if (function.path, function.name) in seen:
                continue
            seen[function.path, function.name] = function
            body = "\n".join(self.lines[function.path][1][function.first:function.last])
            for match in re.finditer(r"KERNEL\((\w+)\)|\b(\w+)\s*\(", body):
                waiting += self.called(function.path, match.group(1) or match.group(2))
        return sorted(seen.values(), key=lambda f: (f.path, f.first))


# ---- which mutants ----


@dataclasses.dataclass(frozen=True)
class Mutant:
    path: str
    line: int  # counted from 0
    function: str
    before: str
    after: str

    def key(self):
        return self.path, self.function, self.before.strip(), self.after.strip()


TYPES = r"(?:const|static|struct|enum|union|unsigned|float|double|int|size_t|bool|vector|integers|" \
        r"ptrdiff_t|u?int\d+_t|char|quad|typedef|__m\w+|philox\w+)\b"
OPERAND = r"[A-Za-z_][\w.]*(?:->[\w.]+|\[\w+\])*"

# Whatever matches is replaced by each alternative in turn; \g<...> are its groups.
REPLACEMENTS = [
    (r" \+= ", [" -= ", " = "]),
    (r" -= ", [" += ", " = "]),
    (r" \*= ", [" /= ", " = "]),
    (r" &= ", [" = "]),
    (r" \+ ", [" - "]),
    (r" - ", [" + "]),
    (r" \* ", [" / ", " + "]),
    (r" / ", [" * "]),
    (r" % ", [" / "]),
    (r" < ", [" <= "]),
    (r" <= ", [" < "]),
    (r" > ", [" >= "]),
    (r" >= ", [" > "]),
    (r" == ", [" != "]),
    (r" != ", [" == "]),
    (r" && ", [" || "]),
    (r" \|\| ", [" && "]),
    (r"\+\+", ["--"]),
    (rf" [+-] {OPERAND}(?=[;,)\]]| [+-] )", [""]),  # a term
    (rf" \* {OPERAND}(?=[;,)\]]| [-+*] )", [""]),  # a factor
    (rf"\b{OPERAND} \* (?=[A-Za-z(])", [""]),
    (r"(?<=[(=?:,] )-(?=[\w(])|(?<=[(\[])-(?=[\w(])", [""]),  # a sign
    (r"\[(?P<index>\w[^\[\]]*)\]", [r"[\g<index> + 1]"]),
    (r"(?<![\w.])(?P<n>\d+)(?![\w.])", [r"(\g<n> + 1)"]),
    (r"(?<![\w.])(?P<n>\d+\.\d+f?)(?![\w.])", [r"(\g<n> + 0.25f)"]),
    (r"\bif \((?P<condition>.*)\)$", [r"if (!(\g<condition>))"]),
    (r"(?<![.>])\b(?:accumulate\w*|add_d[xw]|add)\b(?=[,);]| \?)", ["false", "true"]),
    (r"(?P<x>\btile->accumulate\w*(?:\[\w\])?)", ["false", "true"]),
]


def is_smaller_of_two(code):
    """a < b ? a : b: with <= it is the same."""
    return re.search(r"(\S+) ([<>])=? (\S+) \? (?:\1 : \3|\3 : \1)", code) is not None


def changed_lines(line, code):
    for pattern, alternatives in REPLACEMENTS:
        for match in re.finditer(pattern, code):
            comparison = match.group() in (" < ", " > ", " <= ", " >= ")
            if comparison and is_smaller_of_two(code):
                continue
            for alternative in alternatives:
                yield line[:match.start()] + match.expand(alternative) + line[match.end():]


def is_declaration(code):
    return re.match(rf"\s*{TYPES}", code) is not None


def begins_statement(code, previous):
    return re.search(r"[;{}:]$|\belse$|^#", previous) and code.strip() and code.strip() not in "{}"


def balanced(code):
    return all(code.count(a) == code.count(b) for a, b in ("()", "[]", "{}"))


def mutants_of_line(function, line, code, previous):
    if begins_statement(code, previous) and not re.match(r"\s*(?:case|default|else)\b", code):
        indent = re.match(r"\s*", line).group()
        whole = code.rstrip().endswith(";") and balanced(code)
        if whole and not is_declaration(code) and not code.strip().startswith("for"):
            yield indent + ";"
        if function.returns_nothing:
            yield indent + "return; " + line.strip()
    elif code.rstrip().endswith(";") and balanced(code) and re.search(r"\)$", previous):
        yield re.match(r"\s*", line).group() + ";"
    if is_declaration(code) and "=" not in code:
        return
    # In `float a[N] = {0}` the brackets are no index.
    masked = re.sub(rf"^(\s*(?:{TYPES}[\s*]*)+(?:\w+[\s*]+)?\w+)(\[[^\]]*\])+",
                    lambda m: " " * len(m.group()), code) if is_declaration(code) else code
    yield from changed_lines(line, masked)


def mutants_of(sources, functions):
    seen = set()
    for function in functions:
        lines, code = sources.lines[function.path]
        previous = "{"
        for i in range(function.first + 1, function.last):
            directive = code[i].startswith("#") or code[i].endswith("\\") or \
                code[i - 1].endswith("\\")
            if not code[i].strip() or directive:
                continue
            for after in mutants_of_line(function, lines[i], code[i], previous):
                mutant = Mutant(function.path, i, function.name, lines[i], after)
                if after != lines[i] and mutant not in seen:
                    seen.add(mutant)
                    yield mutant
            previous = code[i].strip()


def equivalents():
    """equivalent.txt: paragraphs of a reason (#), `path function`, `- line`, `+ line`; the last two
    may repeat."""
    keys, place, before = set(), None, None
    for number, line in enumerate((HERE / "equivalent.txt").read_text().splitlines(), 1):
        if line.startswith("- "):
            before = line[2:].strip()
        elif line.startswith("+ "):
            keys.add((*place, before, line[2:].strip()))
        elif line.strip() and not line.startswith("#"):
            place = tuple(line.split())
            if len(place) != 2:
                sys.exit(f"equivalent.txt:{number}: not a path and a function")
    return keys


# ---- building and running ----


class Tree:
    """A copy of the checkout, built, with at most one line changed."""

    def __init__(self, root, built=None):
        self.root, self.build = root, root / "build"
        if built:  # a copy of a tree that is built already
            shutil.copytree(built.root, root, symlinks=True)
            self.environment, self.limits = built.environment, built.limits
            return
        skipped = shutil.ignore_patterns(".git", "build*", "__pycache__", ".pytest_cache")
        shutil.copytree(ROOT, self.root, ignore=skipped, symlinks=True)
        kernels = self.root / "kernels" / "meson.build"
        kernels.write_text(kernels.read_text().replace("'-O3'", "'-O1'"))
        self.environment = {**os.environ, "CCACHE_NOHASHDIR": "1"}
        setup = ["meson", "setup", str(self.build), "-Dtests=enabled"]
        subprocess.run(setup, cwd=self.root, env=self.environment, check=True,
                       stdout=subprocess.DEVNULL)
        self.limits = {}  # processor seconds of a suite

    def compile(self, suite):
        command = ["ninja", "-C", str(self.build), f"tests/test_{suite}"]
        return subprocess.run(command, env=self.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)

    def program(self, suite):
        return self.build / "tests" / f"test_{suite}"

    def digest(self, suite):
        return hashlib.sha256(self.program(suite).read_bytes()).digest()

    def passes(self, suite):
        """Whether the suite passes, and the processor seconds it took. An endless loop ends by its
        limit of processor time, which other work on the machine does not use up."""
        limit = self.limits.get(suite, 600)

        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        limited = f'ulimit -t {limit}; ulimit -c 0; exec "$0"'
        process = subprocess.Popen(["sh", "-c", limited, str(self.program(suite))], cwd=self.root,
                                   env=self.environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            status = process.wait(timeout=60 + 20 * limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return status == 0, seconds

    def write(self, path, lines):
        (self.root / path).write_text("\n".join(lines))


def suites_after(path):
    return SUITES.get(path, NODE_SUITES)


def prepare(tree, paths):
    """Builds and runs everything unmutated; sets the limits."""
    for suite in dict.fromkeys([GRADIENT_CHECKS, *(s for p in paths for s in suites_after(p))]):
        built = tree.compile(suite)
        if built.returncode != 0:
            sys.stdout.write(built.stdout)
            sys.exit(2)
        passed, seconds = tree.passes(suite)
        if not passed:
            print(f"test_{suite} fails without any mutant", file=sys.stderr)
            sys.exit(2)
        tree.limits[suite] = math.ceil(2 * seconds) + 2
    tree.environment["CCACHE_READONLY"] = "1"  # mutants are compiled once


UNCOUNTED = ("did not compile", "same program")


def verdict(tree, mutant, original_digest):
    """"did not compile", "same program", "survived", or the suite that caught it."""
    if tree.compile(GRADIENT_CHECKS).returncode != 0:
        return "did not compile"
    if tree.digest(GRADIENT_CHECKS) == original_digest:
        return "same program"
    if not tree.passes(GRADIENT_CHECKS)[0]:
        return GRADIENT_CHECKS
    for suite in suites_after(mutant.path):
        if tree.compile(suite).returncode != 0:
            return "did not compile"
        if not tree.passes(suite)[0]:
            return suite
    return "survived"


def difference(mutant, lines):
    changed = lines[:mutant.line] + [mutant.after] + lines[mutant.line + 1:]
    return "\n".join(difflib.unified_diff(lines, changed, mutant.path, mutant.path, lineterm="",
                                          n=2))


def quotas(by_file, count, least):
    total = sum(map(len, by_file.values()))
    return {path: max(least, round(count * len(mutants) / total))
            for path, mutants in by_file.items()}


def run_file(tree, options, lines, mutants, wanted):
    """Counts of verdicts over `wanted` mutants of one file."""
    path, tally, counted, began = mutants[0].path, collections.Counter(), 0, time.monotonic()
    original = tree.digest(GRADIENT_CHECKS)
    random.Random(f"{options.seed} {path}").shuffle(mutants)
    for mutant in mutants:
        if counted == wanted:
            break
        tree.write(path, lines[:mutant.line] + [mutant.after] + lines[mutant.line + 1:])
        result = verdict(tree, mutant, original)
        tally[result] += 1
        counted += result not in UNCOUNTED
        if options.verbose:
            print(f"{result}: {path}:{mutant.line + 1}: {mutant.after.strip()}", flush=True)
        if result == "survived":
            print(difference(mutant, lines), flush=True)
    tree.write(path, lines)
    tree.compile(GRADIENT_CHECKS)
    print(f"{path}: {counted} of {len(mutants)} mutants, {counted - tally['survived']} caught, "
          f"{time.monotonic() - began:.0f} s", flush=True)
    return tally


def run(options, folder, sources, by_file):
    trees = queue.SimpleQueue()
    first = Tree(folder / "0")
    prepare(first, by_file)
    trees.put(first)
    for i in range(1, options.jobs):
        trees.put(Tree(folder / str(i), first))
    wanted = quotas(by_file, options.count, options.least_per_file)

    def work(path):
        tree = trees.get()
        try:
            return run_file(tree, options, sources.lines[path][0], by_file[path], wanted[path])
        finally:
            trees.put(tree)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        longest_first = sorted(by_file, key=lambda path: -wanted[path])
        return sum(pool.map(work, longest_first), collections.Counter())


def report(options, tally):
    uncounted = {name: tally.pop(name, 0) for name in UNCOUNTED}
    survived, total = tally.get("survived", 0), sum(tally.values())
    gradient = tally.get(GRADIENT_CHECKS, 0)
    share = 100.0 / max(total, 1)
    percent = (total - survived) * share
    print(f"seed {options.seed}: {total} mutants: {gradient} ({gradient * share:.1f} %) caught by "
          f"the gradient checks, {total - gradient - survived} "
          f"({(total - gradient - survived) * share:.1f} %) by kernel suites, {survived} survived; "
          f"not counted: " + ", ".join(f"{n} {name}" for name, n in uncounted.items()))
    print(f"{percent:.1f} % caught; at least {options.least:g} % wanted")
    return 0 if total and percent >= options.least else 1


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=150, help="compiled mutants, about")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", nargs="*", default=[], help="parts of paths; all without")
    parser.add_argument("--least", type=float, default=95.0, help="percent to catch")
    parser.add_argument("--least-per-file", type=int, default=3)
    parser.add_argument("--passes", choices=["backward", "all"], default="backward")
    parser.add_argument("--jobs", type=int, default=1, help="files at a time, each in a copy")
    parser.add_argument("--list", action="store_true", help="list mutants and build nothing")
    parser.add_argument("--verbose", action="store_true", help="a line for each mutant")
    return parser.parse_args()


def main():
    options = parse_options()
    sources = Sources(ROOT)
    known = equivalents()
    mutants = list(mutants_of(sources, sources.reached(options.passes)))
    stale = known - {m.key() for m in mutants_of(sources, sources.functions)}
    for key in sorted(stale):
        print("equivalent.txt: no such mutant: " + " | ".join(key), file=sys.stderr)
    if stale:
        return 2
    by_file = collections.defaultdict(list)
    for mutant in mutants:
        wanted = not options.files or any(part in mutant.path for part in options.files)
        if wanted and mutant.key() not in known:
            by_file[mutant.path].append(mutant)
    if options.list:
        for path, found in by_file.items():
            for m in found:
                print(f"{path}:{m.line + 1}: {m.function}: {m.before.strip()} -> {m.after.strip()}")
        return 0
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        tally = run(options, pathlib.Path(folder), sources, by_file)
    return report(options, tally)


if __name__ == "__main__":
    sys.exit(main())
