#!/usr/bin/env python3
"""Rules of the code that no compiler checks, each with a line that breaks it."""

import re
import unittest

import checkout

MAX_LINES = 400
MAX_TEST_LINES = 500  # a test file is a list of cases, not something to hold in one's head
RULES_FILE = "tests/repository/source_rules_test.py"
MACHINE_PATH = r"/(?:root|home|Users|work)/[A-Za-z0-9_.]"


class Rule:
    """`pattern` may appear below `folders` only in the files of `allowed`."""

    def __init__(self, why, pattern, bait, folders, allowed=()):
        self.why, self.pattern, self.bait = why, re.compile(pattern), bait
        self.folders, self.allowed = folders, allowed

    def breaches(self, path, text):
        if path in self.allowed or path == RULES_FILE:
            return []
        return ["%s:%d: %s" % (path, number, self.why)
                for number, line in enumerate(text.splitlines(), 1) if self.pattern.search(line)]


LIBRARIES = ("tinkex", "torch_ext")

RULES = [
    Rule("C1: background work enters an arena in one place",
         r"\benqueue\(|\barena_?(->|\.)execute\(", "arena_.execute(task);", LIBRARIES,
         ["tinkex/async/tbb_executor.cc"]),
    Rule("C1: only run_on posts to an executor",
         r"executor\w*(->|\.)post\(", "executor_->post(task);", LIBRARIES, ["tinkex/future.cc"]),
    Rule("threads are started in few places, which ARCHITECTURE.md lists",
         r"std::(jthread|async)\b|std::thread\b(?!::)",
         "  thread_ = std::thread([this] { run(); });", LIBRARIES,
         ["tinkex/async/tbb_executor.cc", "tinkex/async/tbb_executor.h",
          "tinkex/http/io_thread.cc", "tinkex/http/io_thread.h",
          "tinkex/http/loopback_server.cc", "tinkex/mocks/scripted_server.cc",
          "torch_ext/local/compute_thread.cc", "torch_ext/local/compute_thread.h",
          "torch_ext/local/in_process_transport.cc", "torch_ext/local/lanes.cc",
          "torch_ext/local/server_main.cc", "torch_ext/local/timer_thread.h",
          "torch_ext/ops/connect_ops.cc", "torch_ext/ops/reaper.cc"]),
    Rule("a detached thread outlives what it uses",
         r"thread\w*\.detach\(\)|\}\)\.detach\(\)", "thread_.detach();", LIBRARIES,
         # These share their state with the thread, which a callback of its own may let go of last.
         ["tinkex/async/tbb_executor.cc", "tinkex/http/io_thread.cc",
          "tinkex/http/loopback_server.cc", "torch_ext/local/in_process_transport.cc", "torch_ext/local/timer_thread.cc",
          "torch_ext/ops/connect_ops.cc", "torch_ext/ops/reaper.cc"]),
    Rule("the environment is read in tinkex/config/env.cc",
         r"\b(secure_)?getenv\(", 'std::getenv("HOME")', LIBRARIES,
         # BUILD_WORKING_DIRECTORY, which is not a setting of ours.
         ["tinkex/config/env.cc", "torch_ext/programs/callers_directory.cc"]),
    Rule("protozero's get_bool reads beyond the end of a cut message; use read_bool",
         r"\.get_bool\(\)", "fields.get_bool();", LIBRARIES),
    Rule("a library does not print to standard output",
         r"std::cout|\bprintf\(|\bputs\(", 'std::cout << "x";', LIBRARIES,
         ["torch_ext/local/server_main.cc"]),
    Rule("include the single ops, not all of LibTorch",
         r"#include <(torch/torch|ATen/ATen|torch/extension)\.h>", "#include <torch/torch.h>",
         LIBRARIES),
    Rule("a pause is a timer on the injected clock",
         r"\bsleep_(for|until)\(|\busleep\(", "std::this_thread::sleep_for(d);", LIBRARIES),
    Rule("tests wait for events, and never sleep longer than 50 ms",
         r"sleep_for\((?!(std::chrono::milliseconds\()?(50|[1-4]?\d)(ms)?\))", "sleep_for(60ms);",
         ("tests",)),
    Rule("no absolute path of one machine",
         MACHINE_PATH, '"/root' + '/x"', checkout.CODE_FOLDERS + ("third_party", "docs", "tools")),
    Rule("open work is an issue, not a comment",
         r"\b(TODO|FIXME|XXX)\b", "// TODO: later", checkout.CODE_FOLDERS),
]

TEXT = (".cc", ".h", ".py", ".bzl", ".bazel", ".md", ".sh")


def check_size(path, text):
    limit = MAX_TEST_LINES if path.startswith("tests/") else MAX_LINES
    if len(text.splitlines()) <= limit or "over 400 lines because" in text:
        return []
    return ["%s has more than %d lines: split it" % (path, limit)]


class SourceRulesTest(unittest.TestCase):
    # Spec H3, C1.
    def test_every_rule_holds(self):
        broken = []
        for rule in RULES:
            for path in checkout.files(*rule.folders, suffixes=TEXT):
                broken += rule.breaches(path, checkout.read(path))
        self.assertEqual(broken, [], "\n".join(broken))

    def test_every_rule_finds_its_bait(self):
        for rule in RULES:
            self.assertEqual(len(rule.breaches("tinkex/bait.cc", rule.bait)), 1, rule.why)

    def test_every_exception_is_still_needed(self):
        for rule in RULES:
            for path in rule.allowed:
                self.assertTrue(rule.pattern.search(checkout.read(path)),
                                "%s no longer needs its exception from: %s" % (path, rule.why))

    def test_files_are_short(self):
        long = [line for path in checkout.sources(*checkout.CODE_FOLDERS)
                for line in check_size(path, checkout.read(path))]
        self.assertEqual(long, [], "\n".join(long))
        self.assertEqual(len(check_size("a.cc", "\n" * 401)), 1)

    def test_headers_are_included_once(self):
        without = [path for path in checkout.files(*checkout.CODE_FOLDERS, suffixes=(".h",))
                   if "#pragma once" not in checkout.read(path)]
        self.assertEqual(without, [])


if __name__ == "__main__":
    unittest.main()
