#!/usr/bin/env python3
"""Writes the table of requirements, sources and tests into ARCHITECTURE.md.

Tests are found by the ids that their names and comments quote: `T5_OversizeDatumTravelsAlone`.
"""

import os
import re

from requirements import REQUIREMENTS

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
DOCUMENT = os.path.join(ROOT, "ARCHITECTURE.md")
BEGIN = "<!-- tools/traceability.py writes what follows -->\n"
END = "<!-- end -->\n"
ID = re.compile(r"(?<![A-Za-z0-9])([HFTSXCA]\d{1,2})(?![0-9A-Za-z])")


def tests_by_id(root=ROOT):
    """{id: sorted paths of the test files that quote it}."""
    found = {}
    for parent, _, names in os.walk(os.path.join(root, "tests")):
        for name in names:
            if not re.search(r"_test\.(cc|py|sh)$", name):
                continue
            path = os.path.join(parent, name)
            with open(path, encoding="utf-8") as file:
                for quoted in set(ID.findall(file.read())):
                    found.setdefault(quoted, []).append(os.path.relpath(path, root))
    return {quoted: sorted(paths) for quoted, paths in found.items()}


def link(path):
    name = path.split("/", 1)[1] if path.startswith(("tinkex/", "tests/")) else path
    return "[%s](%s)" % (name, path)


def table(tests):
    lines = ["| id | what | where | tests |", "| --- | --- | --- | --- |"]
    for identity, what, sources, evidence in REQUIREMENTS:
        shown = [link(path) for path in tests.get(identity, [])] + [evidence] * bool(evidence)
        lines.append("| %s | %s | %s | %s |" % (
            identity, what, ", ".join(map(link, sources.split())), ", ".join(shown)))
    return "\n".join(lines) + "\n"


def main():
    with open(DOCUMENT, encoding="utf-8") as file:
        text = file.read()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    with open(DOCUMENT, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + table(tests_by_id()) + END + after)


if __name__ == "__main__":
    main()
