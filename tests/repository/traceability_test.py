#!/usr/bin/env python3
"""Each requirement has a test that quotes it, and the table in ARCHITECTURE.md says so."""

import os
import sys
import unittest

import checkout

sys.path.insert(0, os.path.join(checkout.ROOT, "tools"))
import traceability  # pylint: disable=wrong-import-position
from requirements import REQUIREMENTS  # pylint: disable=wrong-import-position

# How many there are of each letter.
COUNTS = {"H": 14, "F": 6, "T": 16, "S": 13, "X": 8, "C": 7, "A": 5, "E": 6}

# Not at the beginning of a line, where this file would seem to quote them itself.
SAMPLE = """
@// Spec T4, X1: what it shows.
@TEST(ChunkerTest,
@     T4_H6_LongName) {}
@TEST_P(OtherTest, C1ControlCharacters) {}
@# Spec H3.
@    def test_h4_layers(self):
@// Spec A1 is mentioned here, and not quoted.
@RC_GTEST_PROP(ChunkerTest, T5_Property, ()) {}
""".replace("@", "")


class TraceabilityTest(unittest.TestCase):
    # Spec E1, E2.
    def test_e1_e2_every_requirement_is_listed_with_sources_that_exist(self):
        listed = [identity for identity, _, _ in REQUIREMENTS]
        self.assertEqual(listed, [letter + str(number) for letter, count in COUNTS.items()
                                  for number in range(1, count + 1)])
        for identity, _, sources in REQUIREMENTS:
            self.assertTrue(sources, identity)
            for path in sources.split():
                self.assertTrue(os.path.exists(os.path.join(checkout.ROOT, path)), path)

    # Spec E3, A1, A2.
    def test_e3_a1_a2_every_requirement_is_quoted_by_a_test(self):
        found = traceability.tests_by_id(traceability.all_tests())
        self.assertEqual([identity for identity, tests in found.items() if not tests], [])

    # Spec E5.
    def test_e5_the_table_is_current(self):
        is_now, should_be = traceability.document_with(
            traceability.table(traceability.all_tests()))
        self.assertTrue(is_now == should_be, "run tools/traceability.py")

    def test_tests_and_what_they_quote_are_found(self):
        tests = traceability.tests_in("a_test.cc", SAMPLE)
        self.assertEqual([(test.name, test.ids) for test in tests], [
            ("ChunkerTest.T4_H6_LongName", ["T4", "X1", "H6"]),
            ("OtherTest.C1ControlCharacters", []),
            ("test_h4_layers", ["H3", "H4"]),
            ("ChunkerTest.T5_Property", ["T5"])])
        script = traceability.tests_in("a_test.sh", "#!/bin/sh\n# Spec F6.\n")
        self.assertEqual([test.ids for test in script], [["F6"]])


if __name__ == "__main__":
    unittest.main()
