"""Loads the shared object of the ops, or says in one sentence why that cannot work.

A library that was built for another LibTorch crashes rather than failing, so the versions are
compared before it is touched. The builder of the wheel writes ``build.json`` beside this file.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
from typing import Iterator, NamedTuple

_FOLDER = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.join(_FOLDER, "lib", "libtinkex_torch.so")

# What tinkex_abi_version() of the library says whose ops this package calls.
INTERFACE = 2

# What is neither in the wheel nor part of torch.
_SYSTEM_PACKAGES = {"libcurl.so": "libcurl4"}


class Build(NamedTuple):
    """What the library in this package was built as."""

    version: str
    """Of tinkex."""
    torch: str
    """LibTorch that it was compiled against, such as "2.13.0"."""
    cxx11_abi: bool
    """Whether it has the strings of C++11 in its interface (_GLIBCXX_USE_CXX11_ABI)."""


def _read_build() -> Build:
    try:
        with open(os.path.join(_FOLDER, "build.json"), encoding="utf-8") as file:
            return Build(**json.load(file))
    except (OSError, TypeError, ValueError) as problem:
        raise ImportError(
            "tinkex_torch is not installed whole: %s. Install it from a wheel; in a checkout, "
            "./bazelw run //torch_ext/python:wheel -- --out DIR makes one" % problem) from None


BUILD = _read_build()


def check_torch(version: str, cxx11_abi: bool, build: Build = BUILD) -> None:
    """Raises ImportError unless the library can be loaded beside this torch.

    What follows a plus sign, as in "2.13.0+cpu", names the devices, not the interface.
    """
    if version.split("+")[0] != build.torch:
        raise ImportError(
            "tinkex_torch %s was built for torch %s and this Python has torch %s, whose interface "
            "differs. Install that version (pip install torch==%s), or build a wheel with this one"
            % (build.version, build.torch, version, build.torch))
    if cxx11_abi != build.cxx11_abi:
        raise ImportError(
            "tinkex_torch was built with _GLIBCXX_USE_CXX11_ABI=%d and this torch %s with =%d. "
            "Build a wheel with this torch, or install the other build of it"
            % (build.cxx11_abi, version, cxx11_abi))


def _explain(problem: str) -> str:
    """What to do about the dynamic linker's message."""
    missing = re.search(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file", problem)
    if missing:
        name = missing.group(1)
        for stem, package in _SYSTEM_PACKAGES.items():
            if name.startswith(stem):
                return ("tinkex_torch needs the library %s, which is not on this machine. On Debian "
                        "and Ubuntu: apt-get install %s" % (name, package))
        return ("tinkex_torch does not find %s, which comes with it or with torch. Install both "
                "again" % name)
    newer = re.search(r"version `(GLIBC\w*_[\d.]+)' not found", problem)
    if newer:
        return ("tinkex_torch was built on a newer system than this one, which lacks %s. Build a "
                "wheel here" % newer.group(1))
    return "tinkex_torch cannot load its library: " + problem


def _mapped_libraries() -> Iterator[str]:
    """The files of this process that may be libraries."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        paths = {line.rstrip("\n").split(maxsplit=5)[5] for line in maps if "/" in line}
    return (path for path in sorted(paths) if ".so" in os.path.basename(path))


def _check_interface() -> None:
    """Raises ImportError if the ops that are there come from a file with another interface.

    Those of a program that has the library linked in have no file, and nothing to compare.
    """
    for path in _mapped_libraries():
        try:
            version = ctypes.CDLL(path, mode=os.RTLD_NOLOAD).tinkex_abi_version()
        except (OSError, AttributeError):  # no library, or none of ours
            continue
        if version != INTERFACE:
            raise ImportError(
                "tinkex_torch %s calls ops of interface %d, and this process has loaded them from %s, "
                "whose interface is %d. Import tinkex_torch before that file is loaded, or leave "
                "loading it out, or load one of the same version"
                % (BUILD.version, INTERFACE, path, version))


def load() -> None:
    """Loads the ops once; raises ImportError.

    Ops that are there already, from another file or from the program that Python runs in, are used:
    a second copy in one process changes nothing.
    """
    try:
        import torch
    except ImportError as problem:
        raise ImportError("tinkex_torch needs torch %s (pip install torch==%s), and importing torch "
                          "failed: %s" % (BUILD.torch, BUILD.torch, problem)) from problem
    if hasattr(torch.ops.tinkex, "connect"):
        _check_interface()
        return
    check_torch(str(torch.__version__), bool(torch._C._GLIBCXX_USE_CXX11_ABI))
    try:
        torch.ops.load_library(LIBRARY)
    except OSError as problem:
        # torch puts a sentence of its own before the linker's.
        raise ImportError(_explain(str(problem.__cause__ or problem))) from problem
