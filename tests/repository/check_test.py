#!/usr/bin/env python3
"""tools/check runs its checks in order and stops at the first failure."""

import os
import shutil
import subprocess
import tempfile
import unittest

import checkout

BAZELW = """#!/bin/sh
echo "$@" >> called
echo "${LIBTORCH_HOME:-}" > libtorch
case "$*" in *--config=werror*) exit 1;; esac
"""


class CheckTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(shutil.rmtree, self.folder)
        os.mkdir(os.path.join(self.folder, "tools"))
        shutil.copy(os.path.join(checkout.ROOT, "tools/check"), os.path.join(self.folder, "tools"))
        with open(os.path.join(self.folder, "bazelw"), "w", encoding="utf-8") as file:
            file.write(BAZELW)
        os.chmod(os.path.join(self.folder, "bazelw"), 0o755)

    def check(self, *names):
        return subprocess.run([os.path.join(self.folder, "tools/check"), *names], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def called(self):
        path = os.path.join(self.folder, "called")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()

    # Spec E4.
    def test_e4_it_stops_at_the_first_failure(self):
        ended = self.check("clients", "tests", "werror", "thread_safety")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("werror failed", ended.stderr)
        self.assertEqual([call.split(" ", 1)[0] for call in self.called()],
                         ["test", "test", "build"])
        self.assertEqual(self.called()[0], "test //tests/tinkex:training_client_test "
                                           "//tests/tinkex:sampling_client_test")
        self.assertEqual(self.called()[1], "test //...")

    # Spec E4, A5.
    def test_e4_a5_all_checks_are_the_clients_then_all_tests_then_the_analysis(self):
        about, told = self.check("--help").stdout.split("Checks: ")
        self.assertIn("`tools/check all` tests/consumer, the oldest LibTorch and the sanitizers", about)
        self.assertTrue(about.endswith(" the named checks.\n"), about)
        self.assertEqual(told.split(), ["clients", "tests", "format", "werror", "thread_safety", "tidy",
                                "consumers", "libtorch_1_13", "asan", "tsan"])
        self.assertEqual(self.called(), [])

    # Spec E4.
    def test_e4_the_oldest_libtorch_is_unpacked_and_tested(self):
        script = os.path.join(self.folder, "tools/debian_libtorch")
        for lines, status in (("echo /unpacked/usr", 0), ("exit 1", 1)):
            with open(script, "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\n%s\n" % lines)
            os.chmod(script, 0o755)
            self.assertEqual(self.check("libtorch_1_13").returncode, status)
        self.assertEqual(self.called(), ["test --config=libtorch_1_13 //..."])
        with open(os.path.join(self.folder, "libtorch"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "/unpacked/usr\n")

    def test_what_is_not_there_is_refused_before_anything_runs(self):
        ended = self.check("tests", "tets")
        self.assertEqual(ended.returncode, 2)
        self.assertIn("there is no 'tets'", ended.stderr)
        self.assertEqual(self.called(), [])


if __name__ == "__main__":
    unittest.main()
