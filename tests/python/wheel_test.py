"""The wheel: what is in it, and what its loader says where it cannot work."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

import torch

import tinkex_torch
from tinkex_torch import _native

WHEEL = os.environ["TINKEX_WHEEL"]
INSTALLED = os.path.dirname(tinkex_torch.__file__)

# A torch that has only what the loader looks at.
OTHER_TORCH = """
__version__ = %r
class _C: _GLIBCXX_USE_CXX11_ABI = %r
class ops: tinkex = None
"""


def dynamic_section(path):
    return subprocess.run(["readelf", "-d", path], check=True, stdout=subprocess.PIPE,
                          text=True).stdout


class WheelTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def import_error(self, program="import tinkex_torch"):
        """What a new Python says whose modules come from `self.folder` first."""
        environment = dict(os.environ, PYTHONPATH=self.folder)
        done = subprocess.run([sys.executable, "-B", "-c", program], env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1, done.stderr)  # a crash has another status
        return done.stderr.strip().splitlines()[-1]

    def copied_package(self):
        copy = os.path.join(self.folder, "tinkex_torch")
        shutil.copytree(INSTALLED, copy)
        return copy

    def without(self, library):
        """A copy of the package whose ops need a library that no machine has."""
        path = os.path.join(self.copied_package(), "lib", "libtinkex_torch.so")
        with open(path, "rb") as file:
            data = file.read()
        self.assertIn(library + b"\0", data)
        os.chmod(path, 0o755)
        with open(path, "wb") as file:
            file.write(data.replace(library + b"\0", library[:-1] + b"9\0"))

    def test_the_package_comes_from_the_wheel_and_is_typed(self):
        self.assertIn("venv", INSTALLED)
        self.assertTrue(os.path.exists(os.path.join(INSTALLED, "py.typed")))
        done = subprocess.run([sys.executable, "-c", "from importlib import metadata as m;"
                               "print(m.version('tinkex-torch'), m.requires('tinkex-torch'))"],
                              check=True, stdout=subprocess.PIPE, text=True)
        release = torch.__version__.split("+")[0]
        self.assertEqual(done.stdout.strip(), "%s+torch%s ['torch==%s']"
                         % (tinkex_torch.__version__, release, release))

    def test_the_wheel_has_no_libtorch_and_the_small_libraries(self):
        names = [os.path.basename(name) for name in zipfile.ZipFile(WHEEL).namelist()]
        libraries = sorted(name.split(".so")[0] for name in names if ".so" in name)
        self.assertEqual(libraries, ["libpcre2-8", "libtbb", "libtinkex_torch", "libutf8proc"])
        self.assertTrue(WHEEL.endswith("-py3-none-linux_%s.whl" % os.uname().machine), WHEEL)
        self.assertIn("LICENSE", names)
        for package in ("libtbb", "libpcre2", "libutf8proc"):
            self.assertTrue([name for name in names
                             if name.startswith(package) and name.endswith(".copyright")], package)

    def test_the_library_names_no_folder_of_the_machine_that_built_it(self):
        library = os.path.join(INSTALLED, "lib", "libtinkex_torch.so")
        self.assertRegex(dynamic_section(library), r"RUNPATH.*\[\$ORIGIN\]")
        with open(library, "rb") as file:
            data = file.read()
        for folder in (os.path.dirname(torch.__file__), os.path.expanduser("~") + "/"):
            self.assertNotIn(folder.encode(), data)

    def test_the_libraries_that_are_loaded_are_torchs_own_and_those_of_the_wheel(self):
        with open("/proc/self/maps", encoding="utf-8") as maps:
            loaded = {line.split()[-1] for line in maps if "/" in line}
        for name, folder in (("libtorch_cpu.so", os.path.dirname(torch.__file__)),
                             ("libtbb.so", INSTALLED), ("libpcre2-8.so", INSTALLED)):
            paths = [path for path in loaded if os.path.basename(path).startswith(name)]
            self.assertEqual([os.path.realpath(path).startswith(os.path.realpath(folder))
                              for path in paths], [True], paths)

    def test_building_it_twice_gives_the_same_bytes(self):
        done = subprocess.run(["torch_ext/python/wheel", "--out", self.folder], check=True,
                              stdout=subprocess.PIPE, text=True)
        with open(done.stdout.strip(), "rb") as again, open(WHEEL, "rb") as first:
            self.assertEqual(again.read(), first.read())

    def test_another_torch_is_an_import_error_that_names_both_versions(self):
        built = torch.__version__.split("+")[0]
        for version, abi, told in (("1.2.3+cu99", True, "has torch 1.2.3+cu99"),
                                   (built, not _native.BUILD.cxx11_abi, "_GLIBCXX_USE_CXX11_ABI")):
            with open(os.path.join(self.folder, "torch.py"), "w", encoding="utf-8") as file:
                file.write(OTHER_TORCH % (version, abi))
            error = self.import_error()
            self.assertRegex(error, r"^ImportError: tinkex_torch .*was built .*torch")
            self.assertIn(told, error)
        self.assertIn(built, error)

    def test_devices_do_not_matter(self):
        build = _native.BUILD
        _native.check_torch(build.torch + "+cu130", build.cxx11_abi)
        _native.check_torch(build.torch, build.cxx11_abi)

    def test_no_torch_is_an_import_error_that_says_which_to_install(self):
        with open(os.path.join(self.folder, "torch.py"), "w", encoding="utf-8") as file:
            file.write("raise ImportError('no such thing')")
        self.assertRegex(self.import_error(), r"needs torch [\d.]+ \(pip install torch==")

    def test_a_missing_system_library_is_an_import_error_that_names_its_package(self):
        self.without(b"libcurl.so.4")
        self.assertRegex(self.import_error(),
                         r"ImportError: .*needs the library libcurl\.so.*apt-get install libcurl4")

    def test_a_missing_library_of_the_wheel_is_an_import_error(self):
        self.without(b"libtbb.so.12")
        self.assertRegex(self.import_error(), r"ImportError: tinkex_torch does not find libtbb\.so")

    def test_a_checkout_is_an_import_error_that_says_how_to_build_the_wheel(self):
        os.remove(os.path.join(self.copied_package(), "build.json"))
        self.assertIn("//torch_ext/python:wheel", self.import_error())

    def test_ops_that_are_loaded_already_are_used(self):
        other = os.path.join(self.folder, "libother.so")
        shutil.copy(os.path.join(INSTALLED, "lib", "libtinkex_torch.so"), other)
        program = ("import torch; torch.ops.load_library(%r); import tinkex_torch;"
                   "print(tinkex_torch.decode_text(tinkex_torch.encode_text('hello')))" % other)
        folder = os.path.join(INSTALLED, "lib")
        done = subprocess.run([sys.executable, "-B", "-c", program], stdout=subprocess.PIPE,
                              env=dict(os.environ, LD_LIBRARY_PATH=folder), text=True)
        self.assertEqual((done.returncode, done.stdout), (0, "hello\n"))

    def test_loaded_ops_of_another_interface_are_an_import_error_that_names_the_file(self):
        other = os.path.join(self.folder, "libnewer_tinkex.so")
        source = "int tinkex_abi_version(void) { return %d; }" % (_native.INTERFACE + 1)
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", other], input=source,
                       text=True, check=True)
        error = self.import_error(
            "import ctypes, torch; ctypes.CDLL(%r); ops = torch.library.Library('tinkex', 'DEF');"
            "ops.define('connect() -> int'); import tinkex_torch" % other)
        self.assertRegex(error, r"^ImportError: tinkex_torch \S+ calls ops of interface %d, .* from %s, "
                         "whose interface is %d. Import tinkex_torch before"
                         % (_native.INTERFACE, re.escape(other), _native.INTERFACE + 1))

    def test_the_package_calls_the_interface_that_its_library_has(self):
        library = ctypes.CDLL(_native.LIBRARY, mode=os.RTLD_NOLOAD)
        self.assertEqual(library.tinkex_abi_version(), _native.INTERFACE)

    def test_the_search_path_is_replaced_only_where_nothing_else_uses_its_bytes(self):
        sys.path.insert(0, "torch_ext/python")
        import elf

        path = os.path.join(self.folder, "a.so")
        for symbol, refused in (("folder", "is the end of the search path"), ("other", None)):
            source = "extern int %s(void); int f(void) { return %s(); }" % (symbol, symbol)
            subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", path,
                            "-Wl,-rpath,/some/folder"], input=source, text=True, check=True)
            with open(path, "rb") as file:
                library = elf.SharedObject(file.read())
            if refused:
                with self.assertRaisesRegex(ValueError, refused):
                    library.set_search_path("$ORIGIN")
                continue
            with self.assertRaisesRegex(ValueError, "there are 12 bytes"):
                library.set_search_path("/a/longer/folder")
            library.set_search_path("$ORIGIN")
            with open(path, "wb") as file:
                file.write(library.data)
            self.assertRegex(dynamic_section(path), r"RUNPATH.*\[\$ORIGIN\]")

    def test_what_the_library_was_built_for_is_in_the_wheel(self):
        with open(os.path.join(INSTALLED, "build.json"), encoding="utf-8") as file:
            build = json.load(file)
        self.assertEqual(build["torch"], torch.__version__.split("+")[0])
        self.assertEqual(build["cxx11_abi"], torch._C._GLIBCXX_USE_CXX11_ABI)


if __name__ == "__main__":
    unittest.main()
