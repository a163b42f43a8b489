#!/usr/bin/env python3
"""Installs tinkex for programs that Bazel does not build: headers, static libraries, a CMake package.

usage: ./bazelw run //tools:install -- --prefix DIR

The public headers and what they include come to DIR/include/tinkex, which is replaced; the libraries
to DIR/lib, the CMake package to DIR/lib/cmake/tinkex. //tools:install_core needs no LibTorch and
installs the core alone. The tree may be moved.
"""

import argparse
import os
import re
import shutil
import sys

# Beside the headers directly in tinkex/ and torch_ext/.
PUBLIC = ("torch_ext/local/backend_options.h", "torch_ext/local/embedded_backend.h")
CORE = ["libtinkex.a"]
TORCH = ["libtinkex_torch_ext.a", "libtinkex_torch_ops.a"]
STAMP = "../libtorch/stamp.h"  # Where Bazel lays it, seen from the folder that it runs this in.


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def public_headers(folders):
    """Paths of the public headers below `folders` and of what they include, in order."""
    wanted = [path for path in PUBLIC if os.path.exists(path) and path.split("/")[0] in folders]
    for folder in folders:
        wanted += [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".h")]
    found = set()
    while wanted:
        path = wanted.pop()
        if path not in found:
            found.add(path)
            wanted += re.findall(r'^#include "([^"]+)"', read(path), re.M)
    return sorted(found)


def libtorch():
    """Folder and version of the LibTorch that the libraries were compiled against."""
    stamp = read(STAMP)
    number = {part: re.search(r"TORCH_VERSION_%s (\d+)" % part, stamp) for part in ("MAJOR", "MINOR")}
    prefix = re.match(r"// (.*)", stamp).group(1)
    return prefix, ".".join(number[part].group(1) for part in ("MAJOR", "MINOR"))


def values(core_only):
    """What the CMake files get for their @NAMES@."""
    told = {"TINKEX_VERSION": re.search(r'kVersion\[\] = "([^"]+)"', read("tinkex/version.h")).group(1)}
    if not core_only:
        told["LIBTORCH_PREFIX"], told["LIBTORCH_SERIES"] = libtorch()
    return told


def copy(source, target):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    # Over another file's name, not into a file that a program may be linked with just now.
    shutil.copyfile(source, target + ".part")
    os.replace(target + ".part", target)


def install(prefix, core_only):
    include, lib = os.path.join(prefix, "include/tinkex"), os.path.join(prefix, "lib")
    package = os.path.join(lib, "cmake/tinkex")
    for stale in (include, package):
        shutil.rmtree(stale, ignore_errors=True)
    headers = public_headers(["tinkex"] if core_only else ["tinkex", "torch_ext"])
    for path in headers:
        copy(path, os.path.join(include, path))
    for name in CORE if core_only else CORE + TORCH:
        copy(os.path.join("tools", name), os.path.join(lib, name))
    os.makedirs(package)
    told = values(core_only)
    for name in sorted(os.listdir("tools/cmake")):
        if core_only and name == "tinkexTorchExt.cmake":
            continue
        text = re.sub(r"@(\w+)@", lambda name: told[name.group(1)], read("tools/cmake/" + name))
        with open(os.path.join(package, name), "w", encoding="utf-8") as file:
            file.write(text)
    return len(headers)


def main():
    parser = argparse.ArgumentParser(
        prog="install", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefix", required=True, help="where to; made if it is not there")
    parser.add_argument("--core-only", action="store_true", help="leave torch_ext out")
    options = parser.parse_args()
    if not os.path.exists("tools/cmake"):
        return "install: run it by ./bazelw run //tools:install -- --prefix DIR"
    # Bazel runs programs in a folder of its own; a relative prefix is the caller's.
    prefix = os.path.join(os.environ.get("BUILD_WORKING_DIRECTORY", ""),
                          os.path.expanduser(options.prefix))
    try:
        count = install(os.path.abspath(prefix), options.core_only)
    except OSError as error:
        return "install: cannot write below --prefix: %s" % error
    print("Installed %d headers, the libraries and the CMake package below %s" % (count, prefix))
    print("In CMake: find_package(tinkex REQUIRED%s), with %s in CMAKE_PREFIX_PATH" % (
        "" if options.core_only else " COMPONENTS torch_ext", prefix))
    return 0


if __name__ == "__main__":
    sys.exit(main())
