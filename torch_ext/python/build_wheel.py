#!/usr/bin/env python3
"""Writes the wheel of tinkex_torch: the package, the ops, and the small libraries that they need.

    ./bazelw run //torch_ext/python:wheel -- --out DIR

LibTorch is not in it: the torch that the package is installed beside has it. Neither is libcurl,
which the distribution has and keeps up to date with all that it stands on. Needs no network.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile

sys.dont_write_bytecode = True
import elf  # pylint: disable=wrong-import-position

PACKAGE = "torch_ext/python/tinkex_torch"
LIBRARY = "torch_ext/libtinkex_torch.so"
TORCH_HEADER = "../libtorch/stamp.h"

# Found where the library is loaded. libgomp is part of torch, too.
TORCH_LIBRARIES = re.compile(r"lib(torch|torch_cpu|c10|gomp)\.so")
SYSTEM_LIBRARIES = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|curl))\.so")

METADATA = """Metadata-Version: 2.1
Name: tinkex-torch
Version: {version}
Summary: Client of the Tinker training API for programs that use torch
License: Apache-2.0
Classifier: Programming Language :: Python :: 3
Classifier: Operating System :: POSIX :: Linux
Classifier: Typing :: Typed
Requires-Python: >=3.10
Requires-Dist: torch=={torch}
"""

WHEEL = """Wheel-Version: 1.0
Generator: tinkex
Root-Is-Purelib: false
Tag: {tag}
"""


def read(path):
    with open(path, "rb") as file:
        return file.read()


def project_version():
    return re.search(r'version = "(.*?)"', read("MODULE.bazel").decode()).group(1)


def torch_version():
    header = read(TORCH_HEADER).decode()
    return ".".join(re.search(r"#define TORCH_VERSION_%s (\d+)" % part, header).group(1)
                    for part in ("MAJOR", "MINOR", "PATCH"))


def places(path):
    """{name: file} of all libraries that the dynamic linker of this machine finds for `path`."""
    lines = subprocess.run(["ldd", path], check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(re.findall(r"^\s*(\S+) => (/\S+)", lines, re.M))


def libraries():
    """{name: bytes} of the ops and of what goes with them."""
    ops = elf.SharedObject(read(LIBRARY))
    ops.set_search_path("$ORIGIN")
    found = {os.path.basename(LIBRARY): bytes(ops.data)}
    here = places(LIBRARY)
    for name in ops.needed():
        if TORCH_LIBRARIES.match(name) or SYSTEM_LIBRARIES.match(name):
            continue
        if name not in here:
            raise SystemExit("wheel: %s is not on this machine" % name)
        data = read(here[name])
        beyond = [each for each in elf.SharedObject(data).needed()
                  if not SYSTEM_LIBRARIES.match(each)]
        if beyond:
            raise SystemExit("wheel: %s needs %s; add them to the wheel, or %s to SYSTEM_LIBRARIES"
                             % (name, ", ".join(beyond), name))
        found[name] = data
    return found


def licences(names):
    """{file: bytes}: the project's licence, and the Debian copyright files of what goes with it."""
    found = {"LICENSE": read("LICENSE")}
    here = places(LIBRARY)
    for name in names:
        if name not in here:
            continue
        owner = subprocess.run(["dpkg", "-S", os.path.realpath(here[name])],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        package = owner.stdout.split(":")[0]
        copyright_file = "/usr/share/doc/%s/copyright" % package
        if owner.returncode or not os.path.exists(copyright_file):
            raise SystemExit("wheel: no Debian package has %s, so its licence is not known"
                             % here[name])
        found[package + ".copyright"] = read(copyright_file)
    return found


def contents(version, torch, tag):
    """{path in the wheel: bytes}."""
    native = libraries()
    files = {"tinkex_torch/" + name: read(os.path.join(PACKAGE, name))
             for name in sorted(os.listdir(PACKAGE)) if name.endswith((".py", ".typed"))}
    build = {"version": project_version(), "torch": torch,
             "cxx11_abi": b"NSt7__cxx1112basic_string" in native[os.path.basename(LIBRARY)]}
    files["tinkex_torch/build.json"] = json.dumps(build).encode() + b"\n"
    files.update({"tinkex_torch/lib/" + name: data for name, data in native.items()})
    info = "tinkex_torch-%s.dist-info/" % version
    files[info + "METADATA"] = METADATA.format(version=version, torch=torch).encode()
    files[info + "WHEEL"] = WHEEL.format(tag=tag).encode()
    files.update({info + "licenses/" + name: data for name, data in licences(native).items()})
    files[info + "RECORD"] = record(files, info + "RECORD")
    return files


def record(files, own_name):
    """The list of files with their digests that pip compares."""
    lines = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append("%s,sha256=%s,%d\n" % (name, digest, len(data)))
    return ("".join(lines) + own_name + ",,\n").encode()


def write(path, files):
    """The same bytes for the same files, whenever it runs. Appears whole or not at all."""
    partial = path + ".partial"
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if "/lib/" in name else 0o644) << 16
            wheel.writestr(entry, data)
    os.replace(partial, path)


def main():
    parser = argparse.ArgumentParser(prog="wheel", description=__doc__.split("\n")[0])
    parser.add_argument("--out", metavar="DIR", required=True, help="where the wheel goes")
    out = parser.parse_args().out
    out = os.path.join(os.environ.get("BUILD_WORKING_DIRECTORY", ""), out)
    torch = torch_version()
    version = "%s+torch%s" % (project_version(), torch)
    tag = "py3-none-linux_" + os.uname().machine
    os.makedirs(out, exist_ok=True)
    path = os.path.join(out, "tinkex_torch-%s-%s.whl" % (version, tag))
    write(path, contents(version, torch, tag))
    print(path)


if __name__ == "__main__":
    main()
