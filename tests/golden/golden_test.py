#!/usr/bin/env python3
"""The golden files are what their generators write."""

import os
import subprocess
import sys
import unittest

FOLDER = os.path.dirname(os.path.realpath(__file__))


class GoldenTest(unittest.TestCase):
    # Spec H11, T10.
    def test_h11_t10_the_files_are_those_of_the_generators(self):
        for name in ("metrics_reduction", "combine"):
            made = subprocess.run([sys.executable, os.path.join(FOLDER, name + ".py")],
                                  check=True, stdout=subprocess.PIPE).stdout.decode()
            with open(os.path.join(FOLDER, name + ".json"), encoding="utf-8") as file:
                self.assertTrue(file.read() == made, "run %s.py > %s.json" % (name, name))


if __name__ == "__main__":
    unittest.main()
