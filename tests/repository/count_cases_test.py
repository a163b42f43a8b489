#!/usr/bin/env python3
"""`.ci/run` counts test cases, and nothing that did not run counts as passed."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

COUNTER = ".ci/count_cases.py"

PASSED = '<testcase name="%s" classname="Suite" status="run" result="completed" />'
FAILED = '<testcase name="%s" classname="Suite" status="run"><failure message="no"/></testcase>'
SKIPPED = (
    '<testcase name="%s" classname="Suite" status="run" result="skipped">'
    '<skipped message="no python"/></testcase>'
)
DISABLED = '<testcase name="%s" classname="Suite" status="notrun" result="suppressed" />'


class CountCasesTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.events = []

    def target(self, label, *results, status="PASSED"):
        """One test target; each result is a list of test cases, or None for a run without XML."""
        self.events.append(
            {"id": {"targetConfigured": {"label": label}}, "configured": {"testSize": "SMALL"}}
        )
        for attempt, cases in enumerate(results, 1):
            output = []
            if cases is not None:
                path = os.path.join(self.folder.name, "%d.xml" % len(self.events))
                with open(path, "w", encoding="utf-8") as file:
                    file.write("<testsuites><testsuite>%s</testsuite></testsuites>" % "".join(cases))
                output = [{"name": "test.xml", "uri": "file://" + path}]
            self.events.append(
                {
                    "id": {"testResult": {"label": label, "run": 1, "shard": 1, "attempt": attempt}},
                    "testResult": {"status": status, "testActionOutput": output},
                }
            )

    def count(self, bazel_status=0):
        """The exit status and the last line."""
        path = os.path.join(self.folder.name, "events.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(map(json.dumps, self.events)))
        done = subprocess.run(
            [sys.executable, COUNTER, path, str(bazel_status)], stdout=subprocess.PIPE, check=False
        )
        return done.returncode, done.stdout.decode().splitlines()[-1]

    def test_adds_up_the_cases_of_all_targets(self):
        self.target("//a:one_test", [PASSED % "A", PASSED % "B"])
        self.target("//a:two_test", [PASSED % "C"])
        self.assertEqual(self.count(), (0, "3 passed, 0 failed"))

    def test_a_failed_case_fails_the_run(self):
        self.target("//a:one_test", [PASSED % "A", FAILED % "B"], status="FAILED")
        self.assertEqual(self.count(3), (3, "1 passed, 1 failed"))

    def test_a_skipped_and_a_disabled_case_count_as_failed(self):
        self.target("//a:one_test", [PASSED % "A", SKIPPED % "B", DISABLED % "C"])
        self.assertEqual(self.count(), (1, "1 passed, 2 failed"))

    def test_a_target_without_a_case_counts_as_failed(self):
        self.target("//a:one_test", [])
        self.target("//a:two_test", None)
        self.assertEqual(self.count(), (1, "0 passed, 2 failed"))

    def test_a_target_that_was_not_built_counts_as_failed(self):
        self.target("//a:one_test", [PASSED % "A"])
        self.target("//a:two_test")
        self.assertEqual(self.count(1), (1, "1 passed, 1 failed"))

    def test_a_process_that_fails_after_its_cases_passed_counts_as_failed(self):
        self.target("//a:one_test", [PASSED % "A"], status="FAILED")
        self.assertEqual(self.count(3), (3, "1 passed, 1 failed"))

    def test_only_the_last_attempt_counts(self):
        self.target("//a:one_test", [FAILED % "A"], [PASSED % "A"])
        self.assertEqual(self.count(), (0, "1 passed, 0 failed"))

    def test_a_build_failure_outside_the_tests_fails_the_run(self):
        self.target("//a:one_test", [PASSED % "A"])
        self.assertEqual(self.count(1), (1, "1 passed, 1 failed"))

    def test_a_run_without_any_test_fails(self):
        self.assertEqual(self.count(), (1, "0 passed, 1 failed"))


if __name__ == "__main__":
    unittest.main()
