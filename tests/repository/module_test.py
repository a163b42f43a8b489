#!/usr/bin/env python3
"""MODULE.bazel and WORKSPACE declare the same dependencies, and the versions agree."""

import re
import unittest

import checkout


def starlark(path):
    """The assignments of a .bzl file that is plain data; such a file is Python too."""
    values = {}
    exec(checkout.read(path), values)  # pylint: disable=exec-used
    return values


class ModuleTest(unittest.TestCase):
    def test_the_module_names_every_dependency_of_the_table(self):
        used = re.search(r"use_repo\(\s*dependencies,(.*?)\)", checkout.read("MODULE.bazel"), re.S)
        table = starlark("third_party/versions.bzl")["SYSTEM_LIBRARIES"]
        self.assertEqual(re.findall(r'"([^"]+)"', used.group(1)), sorted([*table, "libtorch"]))

    def test_every_dependency_names_header_package_and_licence(self):
        for name, entry in starlark("third_party/versions.bzl")["SYSTEM_LIBRARIES"].items():
            for field in ("headers", "package", "licence"):
                self.assertTrue(entry.get(field), "%s has no %s" % (name, field))

    def test_the_module_has_the_version_of_the_library(self):
        module = re.search(r'version = "([^"]+)"', checkout.read("MODULE.bazel")).group(1)
        header = checkout.read("tinkex/version.h")
        self.assertIn('kVersion[] = "%s"' % module, header)
        self.assertIn("## [%s]" % module, checkout.read("CHANGELOG.md"))


if __name__ == "__main__":
    unittest.main()
