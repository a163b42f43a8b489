#!/usr/bin/env python3
"""`tools/debian_libtorch` unpacks packages and installs none. apt-get is a stand-in, dpkg-deb is not."""

import os
import shutil
import subprocess
import tempfile
import unittest

import checkout

LIBRARIES = "usr/lib/x86_64-linux-gnu"
PACKAGES = {
    "libtorch-dev": ["usr/include/torch/version.h", "usr/share/doc/libtorch-dev/copyright"],
    "libtorch1.13": [LIBRARIES + "/libtorch_cpu.so", "lib/x86_64-linux-gnu/libnl-3.so.200"],
    "libgloo0": ["usr/lib/libgloo.so.0"],
    "libopenblas0-pthread": [LIBRARIES + "/openblas-pthread/libblas.so.3"],
}
APT_GET = """#!/bin/sh
echo "$*" >>"$STATE/apt"
[ ! -f "$STATE/offline" ] || { echo "E: Unable to locate package"; exit 100; }
for argument; do
  case $argument in Dir::Cache::archives=*) cp "$STATE"/*.deb "${argument#*=}";; esac
done
"""


class DebianLibtorchTest(unittest.TestCase):
    def setUp(self):
        self.state = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(shutil.rmtree, self.state)
        self.cache = os.path.join(self.state, "the cache")
        self.root = os.path.join(self.cache, "libtorch-1.13")
        os.mkdir(os.path.join(self.state, "bin"))
        self.write("bin/apt-get", APT_GET)
        os.chmod(os.path.join(self.state, "bin/apt-get"), 0o755)
        for name, paths in PACKAGES.items():
            self.package(name, paths)

    def write(self, path, text):
        path = os.path.join(self.state, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def package(self, name, paths):
        for path in paths:
            self.write(os.path.join(name, path), name)
        self.write(name + "/DEBIAN/control", "Package: %s\nVersion: 1\nArchitecture: all\n"
                   "Maintainer: nobody <nobody@example.com>\nDescription: a stand-in\n" % name)
        subprocess.run(["dpkg-deb", "--build", name, name + ".deb"], cwd=self.state, check=True,
                       stdout=subprocess.DEVNULL)

    def unpack(self, **variables):
        environment = {"PATH": self.state + "/bin:" + os.environ["PATH"], "STATE": self.state,
                       "TINKEX_CACHE": self.cache, **variables}
        return subprocess.run([os.path.join(checkout.ROOT, "tools/debian_libtorch")], check=False,
                              cwd=self.state, env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)

    def calls(self):
        with open(os.path.join(self.state, "apt"), encoding="utf-8") as file:
            return file.read().splitlines()

    def test_headers_and_libraries_lie_where_libtorch_home_is_looked_at(self):
        done = self.unpack()
        self.assertEqual((done.returncode, done.stdout), (0, self.root + "/usr\n"), done.stderr)
        for path in ("usr/include/torch/version.h", *(
                os.path.join(LIBRARIES, name)
                for name in ("libtorch_cpu.so", "libgloo.so.0", "libblas.so.3", "libnl-3.so.200"))):
            self.assertTrue(os.path.isfile(os.path.join(self.root, path)), path)
        self.assertEqual(sorted(os.listdir(self.cache)), ["libtorch-1.13", "libtorch-1.13.lock"])
        self.assertIn("--download-only", self.calls()[0])

    def test_a_relative_cache_gives_the_same_absolute_folder(self):
        done = self.unpack(TINKEX_CACHE="the cache")
        self.assertEqual((done.returncode, os.path.realpath(done.stdout.rstrip())),
                         (0, os.path.realpath(self.root + "/usr")), done.stderr)
        self.assertTrue(os.path.isabs(done.stdout), done.stdout)
        self.assertTrue(os.path.isfile(os.path.join(self.root, LIBRARIES, "libnl-3.so.200")))

    def test_it_is_unpacked_once(self):
        first = self.unpack()
        self.assertIn("unpacking", first.stderr)
        again = self.unpack()
        self.assertEqual((again.returncode, again.stdout, again.stderr), (0, first.stdout, ""))
        self.assertEqual(len(self.calls()), 1)

    def test_what_failed_is_named_and_can_be_repeated(self):
        self.write("offline", "")
        done = self.unpack()
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("apt-get could not download Debian 12's libtorch-dev", done.stderr)
        self.assertIn("apt-get update", done.stderr)
        os.remove(os.path.join(self.state, "offline"))
        self.assertEqual(self.unpack().returncode, 0)

    def test_a_place_for_the_cache_is_asked_for(self):
        done = self.unpack(TINKEX_CACHE="", HOME="")
        self.assertEqual(done.returncode, 1)
        self.assertIn("TINKEX_CACHE", done.stderr)


if __name__ == "__main__":
    unittest.main()
