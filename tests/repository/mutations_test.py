#!/usr/bin/env python3
"""The rows of tools/mutation_table.py still fit the code: texts, targets and tests exist."""

import os
import re
import sys
import unittest

import checkout

sys.path.insert(0, os.path.join(checkout.ROOT, "tools"))
from mutation_table import MUTATIONS  # pylint: disable=wrong-import-position


class MutationTableTest(unittest.TestCase):
    def test_every_text_occurs_once(self):
        for what, edits, _, _ in MUTATIONS:
            for path, old, new in edits:
                self.assertEqual(checkout.read(path).count(old), 1, "%s: %s" % (what, path))
                self.assertNotEqual(old, new, what)

    def test_every_test_exists_in_its_target(self):
        for what, _, target, name in MUTATIONS:
            package, rule = target[2:].split(":")
            self.assertIn('name = "%s"' % rule, checkout.read(package + "/BUILD.bazel"), what)
            case = name.split(".")[-1].strip("*")
            source = checkout.read("%s/%s.cc" % (package, rule))
            self.assertTrue(re.search(r"^TEST(_F|_P)?\(\w+,\s*%s\)" % case, source, re.M),
                            "%s: there is no %s in %s" % (what, case, target))

    def test_rows_have_names_of_their_own(self):
        names = [row[0] for row in MUTATIONS]
        self.assertEqual(len(names), len(set(names)))


if __name__ == "__main__":
    unittest.main()
