#!/usr/bin/env python3
"""What `//tools:install` installs serves programs that CMake builds, and CMake says what is missing."""

import os
import shutil
import subprocess
import tempfile
import unittest

import consumer

# Debian's, whatever else is on PATH: bazelw installs it.
CMAKE = "/usr/bin/cmake" if os.path.exists("/usr/bin/cmake") else shutil.which("cmake")

# Libraries with AddressSanitizer and its companion can be linked only by programs that have them too.
SANITIZED = ["-DCMAKE_CXX_FLAGS=-fsanitize=address,undefined"] if consumer.SANITIZED else []


class CmakeConsumerTest(unittest.TestCase, consumer.Programs):
    @classmethod
    def setUpClass(cls):
        if CMAKE is None:
            raise AssertionError("cmake was not found; ./bazelw installs it: apt-get install cmake make")
        cls.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
        first = os.path.join(cls.folder, "first")
        subprocess.run(["tools/install", "--prefix", first], check=True)
        # Moved, to show that it may be.
        cls.prefix = os.path.join(cls.folder, "tree")
        os.rename(first, cls.prefix)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def configure(self, name, *options, prefix=None, torch=None):
        """Configures the consumer's project in a build folder of its own, and gives both."""
        build = os.path.join(self.folder, name)
        places = ";".join(filter(None, [prefix or self.prefix, torch]))
        return build, consumer.run(
            CMAKE, "-S", consumer.SOURCES, "-B", build, "-DCMAKE_PREFIX_PATH=" + places, *SANITIZED,
            *options)

    def expect_refusal(self, done, *words):
        self.assertNotEqual(done.returncode, 0)
        told = " ".join(done.stdout.split())  # CMake breaks lines where it likes
        for word in words:
            self.assertIn(word, told)

    def fake_torch(self, version):
        """A folder that holds a package Torch of this version, and nothing to link."""
        folder = os.path.join(self.folder, "torch-" + version)
        package = os.path.join(folder, "share/cmake/Torch")
        os.makedirs(package)
        with open(os.path.join(package, "TorchConfig.cmake"), "w", encoding="utf-8") as file:
            file.write("set(TORCH_LIBRARIES torch)\n")
        with open(os.path.join(package, "TorchConfigVersion.cmake"), "w", encoding="utf-8") as file:
            file.write("set(PACKAGE_VERSION %s)\n" % version)
        return folder

    def test_programs_with_libtorch_are_built_and_do_what_they_should(self):
        build, done = self.configure("all", torch=consumer.libtorch())
        self.expect_success(done)
        self.expect_success(consumer.run(CMAKE, "--build", build, "--parallel", "2", "--target",
                                         "train", "surprise", "load_op"))
        self.check_training(os.path.join(build, "train"))
        self.check_op(os.path.join(build, "load_op"), os.path.join(build, "libsurprise.so"))

    def test_libtorch_is_found_where_tinkex_found_it(self):
        self.expect_success(self.configure("hint")[1])

    def test_the_core_needs_no_libtorch(self):
        prefix = os.path.join(self.folder, "core-tree")
        subprocess.run(["tools/install", "--prefix", prefix, "--core-only"], check=True)
        self.assertEqual(sorted(os.listdir(os.path.join(prefix, "lib"))), ["cmake", "libtinkex.a"])
        build, done = self.configure("core", "-DWITH_LIBTORCH=OFF",
                                     "-DCMAKE_DISABLE_FIND_PACKAGE_Torch=ON", prefix=prefix)
        self.expect_success(done)
        self.expect_success(consumer.run(CMAKE, "--build", build))
        self.check_core(os.path.join(build, "core"))
        self.expect_refusal(self.configure("no-ext", prefix=prefix)[1],
                            "installed without torch_ext", "//tools:install")

    def test_a_missing_libtorch_is_named(self):
        _, done = self.configure("missing", "-DCMAKE_DISABLE_FIND_PACKAGE_Torch=ON")
        self.expect_refusal(done, "tinkex::torch_ext needs LibTorch", "which was not found",
                            "CMAKE_PREFIX_PATH")

    def test_a_libtorch_of_another_version_is_refused(self):
        _, done = self.configure("other", torch=self.fake_torch("1.9.1"))
        self.expect_refusal(done, "was compiled against LibTorch", "CMake found 1.9.1",
                            "LIBTORCH_HOME")

    def test_another_version_of_tinkex_is_refused(self):
        project = os.path.join(self.folder, "versions")
        for wanted, accepted in (("0.1", True), ("0.1.0", True), ("0.2", False), ("1.0", False)):
            os.makedirs(project, exist_ok=True)
            with open(os.path.join(project, "CMakeLists.txt"), "w", encoding="utf-8") as file:
                file.write("cmake_minimum_required(VERSION 3.18)\nproject(versions LANGUAGES CXX)\n"
                           "find_package(tinkex %s REQUIRED)\n" % wanted)
            done = consumer.run(CMAKE, "-S", project, "-B", os.path.join(project, "build-" + wanted),
                                "-DCMAKE_PREFIX_PATH=" + self.prefix)
            self.assertEqual(done.returncode == 0, accepted, wanted)

    def test_the_public_headers_and_only_what_they_need_are_installed(self):
        include = os.path.join(self.prefix, "include/tinkex")
        for header in ("tinkex/service_client.h", "torch_ext/connect.h",
                       "torch_ext/local/backend_options.h"):
            self.assertTrue(os.path.exists(os.path.join(include, header)), header)
        for header in ("tinkex/http/io_thread.h", "torch_ext/local/decoder.h"):
            self.assertFalse(os.path.exists(os.path.join(include, header)), header)

    def test_an_installer_without_a_place_says_what_it_wants(self):
        done = consumer.run("tools/install")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--prefix", done.stdout)
        done = consumer.run("tools/install", "--prefix", "/proc/nowhere")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot write below --prefix", done.stdout)


if __name__ == "__main__":
    unittest.main()
