"""Counts the single tests in a log of Meson's: totals.py build/meson-logs/testlog.json

Lists what failed or was skipped; the last line is "N passed, N failed, N skipped". Exits with 1
where one failed. Criterion's suites speak TAP, pytest has its summary; whatever else Meson ran is
one test.
"""
import collections
import json
import re
import sys


def tap(output):
    """(result, name) of each line "ok - suite::name  # SKIP why" or "not ok - suite::name"."""
    for line in output.splitlines():
        found = re.match(r"(not )?ok\b[\s\d-]*(.*)", line)
        if not found:
            continue
        skipped = "# SKIP" in line
        yield "failed" if found[1] else "skipped" if skipped else "passed", found[2].strip()


def pytest(output):
    summary = output.strip().rpartition("\n")[2]
    for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", summary):
        result = "failed" if word == "error" else word
        yield from ((result, "") for _ in range(int(count)))
    for line in output.splitlines():
        if line.startswith(("SKIPPED", "FAILED", "ERROR ")):
            print(line)


def results(test):
    """The results within one test of Meson's."""
    output = test.get("stdout", "")
    if output.startswith("TAP version"):
        found = list(tap(output))
        for result, name in found:
            if result != "passed":
                print(f"{result.upper()} {name}")
    elif "pytest" in test["command"]:
        found = list(pytest(output))
    else:
        found = []
    counts = collections.Counter(result for result, _ in found)
    if test["result"] not in ("OK", "SKIP") and not counts["failed"]:
        print(f"FAILED {test['name']}: {test['result'].lower()}")
        counts["failed"] = 1
    elif not found:
        counts["skipped" if test["result"] == "SKIP" else "passed"] = 1
    return counts


def main(path):
    total = collections.Counter()
    with open(path, encoding="utf-8") as log:
        for line in log:
            total += results(json.loads(line))
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
