#!/usr/bin/env python3
"""Writes the table of requirements, sources and tests into ARCHITECTURE.md.

A test quotes the ids of the requirements that it shows in a comment right above it, `// Spec T5, X1.`
(`#` in Python and shell), and in its name, `T5_X1_OversizeDatumTravelsAlone` or `test_t5_x1_...`. A
comment in a shell script speaks of the script.

    tools/traceability.py            rewrites the table
    tools/traceability.py --report   prints every requirement with the file and line of every test
"""

import os
import re
import sys

from requirements import REQUIREMENTS

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
DOCUMENT = "ARCHITECTURE.md"
BEGIN = "<!-- tools/traceability.py writes what follows -->\n"
END = "<!-- end -->\n"
SHOWN = 3  # tests in a row of the table; the report has all

ID = r"[HFTSXCAE][1-9]\d?"
QUOTE = re.compile(r"^\s*(?://|#) Spec (%s(?:, %s)*)[.:]" % (ID, ID))
TEST = re.compile(r"^\s*(?:TYPED_)?TEST(?:_[FP])?\(|^\s*RC_GTEST_PROP\(|^\s*def test_")
NAME = re.compile(r"\(\s*(\w+),\s*(\w+)|def (test_\w+)")


class Test:
    """One test and the ids that it quotes."""

    def __init__(self, path, line, name, ids):
        self.path, self.line, self.name, self.ids = path, line, name, ids

    def shown(self):
        return "[%s](%s) %s" % (os.path.basename(self.path), self.path, self.name)


def ids_in_name(name):
    """Of `Suite.T5_X1_Words` or `test_t5_x1_words`: T5, X1."""
    found = []
    for word in re.sub(r"^test_|.*\.", "", name).split("_"):
        if not re.fullmatch(ID, word.upper()):
            break
        found.append(word.upper())
    return found


def tests_in(path, text):
    """The tests of one file; for a shell script, the script if it quotes an id."""
    lines = text.splitlines()
    tests, quoted = [], []
    for number, line in enumerate(lines, 1):
        if QUOTE.match(line):
            quoted += QUOTE.match(line).group(1).split(", ")
        if not TEST.match(line):
            continue
        name = NAME.search(" ".join(lines[number - 1:number + 2]))
        name = name.group(3) or "%s.%s" % (name.group(1), name.group(2))
        ids = list(dict.fromkeys(quoted + ids_in_name(name)))
        tests.append(Test(path, number, name, ids))
        quoted = []
    if path.endswith(".sh") and quoted:
        tests.append(Test(path, 1, "", quoted))
    return tests


def all_tests(root=ROOT):
    found = []
    for folder in ("examples", "tests"):
        for parent, _, names in os.walk(os.path.join(root, folder)):
            for name in names:
                if not re.search(r"(_test\.(cc|py|sh)|testing_example\.cc)$", name):
                    continue
                path = os.path.relpath(os.path.join(parent, name), root)
                with open(os.path.join(root, path), encoding="utf-8") as file:
                    found += tests_in(path, file.read())
    return sorted(found, key=lambda test: (test.path, test.line))


def tests_by_id(tests):
    return {identity: [test for test in tests if identity in test.ids]
            for identity, _, _ in REQUIREMENTS}


def some_of(identity, tests):
    """A few of them: of different files where possible, those with the id in their name first."""
    tests = sorted(tests, key=lambda test: identity not in ids_in_name(test.name))
    firsts = list({test.path: test for test in reversed(tests)}.values())[::-1]
    return (firsts + [test for test in tests if test not in firsts])[:SHOWN]


def table(tests):
    lines = ["| id | what | where | tests |", "| --- | --- | --- | --- |"]
    found = tests_by_id(tests)
    for identity, what, sources in REQUIREMENTS:
        links = ", ".join("[%s](%s)" % (re.sub(r"^(tinkex|tests)/", "", path), path)
                          for path in sources.split())
        shown = [test.shown().strip() for test in some_of(identity, found[identity])]
        more = ["and more"] if len(found[identity]) > len(shown) else []
        lines.append("| %s | %s | %s | %s |" % (identity, what, links, ", ".join(shown + more)))
    return "\n".join(lines) + "\n"


def report(tests):
    found = tests_by_id(tests)
    for identity, what, sources in REQUIREMENTS:
        print("%s: %s (%s)" % (identity, what, sources))
        for test in found[identity]:
            print("    %s:%d: %s" % (test.path, test.line, test.name))


def document_with(new_table):
    with open(os.path.join(ROOT, DOCUMENT), encoding="utf-8") as file:
        text = file.read()
    before, rest = text.split(BEGIN)
    return text, before + BEGIN + new_table + END + rest.split(END)[1]


def main():
    if sys.argv[1:] == ["--report"]:
        return report(all_tests())
    with_table = document_with(table(all_tests()))[1]
    with open(os.path.join(ROOT, DOCUMENT), "w", encoding="utf-8") as file:
        file.write(with_table)


if __name__ == "__main__":
    main()
