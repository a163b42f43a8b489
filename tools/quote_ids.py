#!/usr/bin/env python3
"""Puts `// Spec T5, X1.` above every test whose name has ids that no comment quotes yet."""

import os

import traceability


def with_quotes(path, text):
    lines = text.splitlines(keepends=True)
    added = 0
    for test in traceability.tests_in(path, text):
        named = traceability.ids_in_name(test.name)
        above = test.line - 2 + added  # the last line above the test
        known = []
        while above >= 0 and lines[above].lstrip().startswith(("//", "#")):
            quote = traceability.QUOTE.match(lines[above])
            known += quote.group(1).split(", ") if quote else []
            above -= 1
        missing = [identity for identity in named if identity not in known]
        if not missing:
            continue
        where = test.line - 1 + added
        indent = lines[where][:len(lines[where]) - len(lines[where].lstrip())]
        mark = "#" if path.endswith(".py") else "//"
        lines.insert(where, "%s%s Spec %s.\n" % (indent, mark, ", ".join(missing)))
        added += 1
    return "".join(lines)


def main():
    for path in sorted({test.path for test in traceability.all_tests()}):
        full = os.path.join(traceability.ROOT, path)
        with open(full, encoding="utf-8") as file:
            text = file.read()
        quoted = with_quotes(path, text)
        if quoted != text:
            with open(full, "w", encoding="utf-8") as file:
                file.write(quoted)


if __name__ == "__main__":
    main()
