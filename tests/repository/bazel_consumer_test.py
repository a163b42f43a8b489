#!/usr/bin/env python3
"""A workspace of strangers builds what the guide says, and Bazel says what is missing.

The programs that need LibTorch are compiled here, not linked: that would compile all of torch_ext
once more, for minutes. bazel_consumer_torch_test does it.
"""

import os
import re
import shutil
import tarfile
import tempfile
import unittest

import checkout
import consumer
import inner_bazel

GUIDE = checkout.read("docs/bazel_workspace.md")
# Whether it is optimised makes no difference here but to the time.
FAST = "--compilation_mode=fastbuild"

OWN_REPOSITORIES = """
new_local_repository(name = "tbb", path = "own", build_file = "own/tbb.BUILD")
new_local_repository(name = "curl", path = "own", build_file = "own/curl.BUILD")
new_local_repository(name = "libtorch", path = "own", build_file = "own/libtorch.BUILD")
"""
OWN_BUILD = """
package(default_visibility = ["//visibility:public"])
cc_library(name = "%s", tags = ["of_the_host"])
"""
CALL = """
load("@tinkex//third_party:deps.bzl", "tinkex_deps")
tinkex_deps()
"""
STAND_INS_ONLY = """
load("@tinkex//third_party:bazel4.bzl", "bazel4_stand_ins")
bazel4_stand_ins()
"""


class ConsumerTest(unittest.TestCase, consumer.Programs):
    @classmethod
    def setUpClass(cls):
        cls.bazel = inner_bazel.InnerBazel(consumer.SOURCES)
        cls.addClassCleanup(cls.bazel.shutdown)

    def test_the_core_is_built_without_libtorch_and_trains_on_a_server(self):
        self.expect_success(self.bazel("build", FAST, "//:core", libtorch="/nonexistent"))
        self.check_core(self.bazel.built("core", FAST))

    def test_programs_with_libtorch_compile(self):
        self.expect_success(self.bazel("build", FAST, "--output_groups=compilation_outputs",
                                       "//:train", "//:libsurprise.so", "//:load_op"))

    def test_a_missing_libtorch_is_named(self):
        done = self.bazel("build", "--nobuild", "//:train", libtorch="/nonexistent")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("tinkex: LibTorch was not found", done.stdout)
        self.assertIn("LIBTORCH_HOME: /nonexistent has no libtorch_cpu.so", done.stdout)

    def test_a_libtorch_that_is_too_old_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            for path, text in (("lib/libtorch_cpu.so", ""),
                               ("include/torch/csrc/api/include/torch/version.h",
                                "#define TORCH_VERSION_MAJOR 1\n#define TORCH_VERSION_MINOR 9\n")):
                os.makedirs(os.path.join(folder, os.path.dirname(path)))
                with open(os.path.join(folder, path), "w", encoding="utf-8") as file:
                    file.write(text)
            done = self.bazel("build", "--nobuild", "//:train", libtorch=folder)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"holds LibTorch 1\.9; tinkex needs \d+\.\d+ or later")


class OtherWorkspacesTest(unittest.TestCase, consumer.Programs):
    """Workspaces that are only loaded: nothing is compiled."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.bazel = inner_bazel.InnerBazel(os.path.join(cls.folder, "host"),
                                           os.path.join(cls.folder, "base"))
        cls.addClassCleanup(cls.bazel.shutdown)
        os.makedirs(os.path.join(cls.folder, "host/own"))
        for name in ("tbb", "curl", "libtorch"):
            cls.write("own/%s.BUILD" % name, OWN_BUILD % name)
        cls.write("BUILD.bazel", checkout.read("tests/consumer/BUILD.bazel"))

    @classmethod
    def write(cls, path, text):
        with open(os.path.join(cls.folder, "host", path), "w", encoding="utf-8") as file:
            file.write(text)

    def workspace(self, *parts, tinkex=None):
        tinkex = tinkex or 'local_repository(name = "tinkex", path = "%s")\n' % checkout.ROOT
        self.write("WORKSPACE", "".join([tinkex, *parts]))

    def test_libraries_of_the_host_win(self):
        self.workspace(OWN_REPOSITORIES, CALL)
        done = self.bazel("query", "attr(tags, of_the_host, deps(//:train))", libtorch="/nonexistent")
        told = self.expect_success(done)
        for name in ("tbb", "curl", "libtorch"):
            self.assertIn("@%s//:%s\n" % (name, name), told)

    def test_an_archive_serves_as_the_guide_says(self):
        archive = os.path.join(self.folder, "tinkex.tar.gz")
        with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
            for name in ("WORKSPACE", "BUILD.bazel", "tinkex", "torch_ext", "third_party"):
                tar.add(os.path.join(checkout.ROOT, name), "tinkex-0.1.0/" + name)
        told = re.search(r'```python\n(load\(.*?http_archive.*?)```', GUIDE, re.S).group(1)
        self.assertIn("strip_prefix", told)
        told = re.sub(r'url = ".*?"', 'url = "file://%s"' % archive, told)
        self.workspace(CALL, tinkex=re.sub(r'    sha256 = ".*?",\n', "", told))
        self.assertIn("@tinkex//tinkex:tinkex\n",
                      self.expect_success(self.bazel("query", "deps(//:core)")))

    def test_a_workspace_without_the_dependencies_names_the_first_one(self):
        self.workspace(STAND_INS_ONLY)
        done = self.bazel("build", "--nobuild", "//:core")
        self.assertNotEqual(done.returncode, 0)
        message = r"The repository '@(\w+)' could not be resolved"
        missing = re.search(message, done.stdout)
        self.assertTrue(missing, done.stdout)
        self.assertIn('"%s": dict(' % missing.group(1), checkout.read("third_party/versions.bzl"))
        self.assertRegex(GUIDE, message)


if __name__ == "__main__":
    unittest.main()
