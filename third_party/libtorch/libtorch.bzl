"""Finds LibTorch when something that needs it is built; never when it is only declared.

Places are tried in this order; the first that has the library and its C++ headers, and is not older
than LIBTORCH_OLDEST, is taken:

1. LIBTORCH_HOME: an unpacked LibTorch, or the `torch` folder of a Python installation. If it is
   set, no other place is tried.
2. The `torch` package of a Python: the one in PYTHON_BIN_PATH, of the checkout's .venv, of the
   environment that bazelw makes, on PATH.
3. The system prefix, where Debian's libtorch-dev is.

The repository has `:libtorch` (headers and libraries), `:headers`, and `python.sh`, the Python that
belongs to it.
"""

load("//third_party:versions.bzl", "LIBTORCH_OLDEST", "LIBTORCH_VERSION")

_BUILD = """package(default_visibility = ["//visibility:public"])

exports_files([
    "python.sh",
    "stamp.h",
])

cc_library(
    name = "headers",
    defines = {defines},
    hdrs = ["stamp.h"],  # changes with the version, so that everything is rebuilt
    includes = {includes},  # -isystem: no warnings from LibTorch
    textual_hdrs = ["include"],  # one directory instead of nine thousand inputs
)

cc_library(
    name = "libtorch",
    linkopts = [
        "-L{libraries}",
        "-Wl,-rpath,{libraries}",
        "-Wl,--no-as-needed",  # libtorch registers its operators by being loaded
        "-ltorch",
        "-Wl,--as-needed",
        "-ltorch_cpu",
        "-lc10",
    ] + {linkopts},
    deps = [":headers"],
)
"""

# What is different before 2.1. It has one function for both of these, so that the names mean that one.
_OLD_DEFINES = ["const_data_ptr=data_ptr", "mutable_data_ptr=data_ptr"]

def _old_linkopts(ctx, libraries):
    # Debian's needs many libraries. Where they were unpacked beside it, only an rpath of the old kind,
    # which holds for libraries of libraries too, leads there. And its headers log by glog.
    glog = ctx.path(libraries + "/libglog.so").exists
    return ["-Wl,--disable-new-dtags"] + (["-lglog"] if glog else [])

_NOT_FOUND = """

tinkex: LibTorch was not found. Tried, in this order:
{tried}
Do one of these:
  - ./bazelw ... installs torch {version} for you;
  - LIBTORCH_HOME=<unpacked LibTorch, or the torch folder of a Python installation>;
  - PYTHON_BIN_PATH=<a python that can import torch>.
The core library, //tinkex/..., builds without LibTorch.
"""

# LibTorch has two include folders: this one, below the prefix, holds torch/torch.h.
_API = "include/torch/csrc/api/include"

_LIBRARY_FOLDERS = ["/lib", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu"]

def _package_of(ctx, python):
    """The folder of the torch package that `python` would import, or an empty string."""

    # find_spec does not import torch: 0.1 s instead of 2 s, and it works without its dependencies.
    code = ("import importlib.util as u, os; s = u.find_spec('torch'); " +
            "print(os.path.dirname(s.origin) if s else '')")
    found = ctx.execute([python, "-c", code])
    return found.stdout.strip() if found.return_code == 0 else ""

def _candidates(ctx):
    """Places to try: (what to call it, prefix or an empty string, Python or an empty string)."""
    env = ctx.os.environ
    if env.get("LIBTORCH_HOME"):  # an explicit choice never falls through to another one
        return [("LIBTORCH_HOME", env["LIBTORCH_HOME"], "")]
    here = ctx.path(Label("//third_party/libtorch:libtorch.bzl"))
    checkout = str(here.dirname.dirname.dirname)
    cache_home = env.get("XDG_CACHE_HOME") or env.get("HOME", "") + "/.cache"
    cache = env.get("TINKEX_CACHE") or cache_home + "/tinkex"
    found = []
    for name, python in [
        ("PYTHON_BIN_PATH", env.get("PYTHON_BIN_PATH", "")),
        (".venv of the checkout", checkout + "/.venv/bin/python3"),
        ("the environment bazelw makes", cache + "/torch-" + LIBTORCH_VERSION + "/bin/python3"),
        ("python3 on PATH", str(ctx.which("python3") or "")),
    ]:
        package = _package_of(ctx, python) if python and ctx.path(python).exists else ""
        found.append(("%s, %s" % (name, python or "not set"), package, python))
    return found + [("system prefix", "/usr", "")]

def _library_folder(ctx, prefix):
    for folder in _LIBRARY_FOLDERS:
        if ctx.path(prefix + folder + "/libtorch_cpu.so").exists:
            return prefix + folder
    return ""

def _version_header(ctx, prefix):
    header = prefix + "/include/torch/headeronly/version.h"  # 2.13 moved the numbers there
    return header if ctx.path(header).exists else prefix + "/" + _API + "/torch/version.h"

def _is_older(version, other):
    parts = [[int(part) for part in each.split(".")] for each in (version, other)]
    return parts[0] < parts[1]

def _series(ctx, prefix):
    """The first two numbers of the version, as text."""
    numbers = {}
    for line in ctx.read(_version_header(ctx, prefix)).split("\n"):
        words = line.split(" ")
        if len(words) == 3 and words[1].startswith("TORCH_VERSION_M"):
            numbers[words[1]] = words[2].strip()
    return numbers["TORCH_VERSION_MAJOR"] + "." + numbers["TORCH_VERSION_MINOR"]

def _why_not(ctx, prefix):
    """What is wrong with `prefix`, or an empty string if it is a LibTorch that will do."""
    if not prefix:
        return "no torch there"
    if not _library_folder(ctx, prefix):
        return prefix + " has no libtorch_cpu.so"
    if not ctx.path(prefix + "/" + _API + "/torch/version.h").exists:
        return prefix + " has no headers"
    if _is_older(_series(ctx, prefix), LIBTORCH_OLDEST):
        return "%s holds LibTorch %s; tinkex needs %s or later" % (
            prefix,
            _series(ctx, prefix),
            LIBTORCH_OLDEST,
        )
    return ""

def _link_headers(ctx, prefix):
    if prefix == "/usr":  # -isystem /usr/include would break <cstdlib>; take only LibTorch's own
        for folder in ["ATen", "c10", "caffe2", "torch"]:
            ctx.symlink("/usr/include/" + folder, "include/" + folder)
    else:
        ctx.symlink(prefix + "/include", "include")

def _write_stamp(ctx, prefix):
    ctx.file("stamp.h", "// %s\n%s" % (prefix, ctx.read(_version_header(ctx, prefix))))

def _write_repository(ctx, prefix, python):
    _link_headers(ctx, prefix)
    _write_stamp(ctx, prefix)

    # A script, not a symbolic link: a linked interpreter would not know its virtual environment.
    script = "#!/bin/sh\nexec \"%s\" \"$@\"\n" % (python or "python3")
    ctx.file("python.sh", script, executable = True)
    old = _is_older(_series(ctx, prefix), "2.1")
    libraries = _library_folder(ctx, prefix)
    ctx.file("BUILD.bazel", _BUILD.format(
        defines = _OLD_DEFINES if old else [],
        includes = ["include", _API],
        libraries = libraries,
        linkopts = _old_linkopts(ctx, libraries) if old else [],
    ))

def _libtorch(ctx):
    tried = []
    for name, prefix, python in _candidates(ctx):
        reason = _why_not(ctx, prefix)
        if not reason:
            _write_repository(ctx, prefix, python)
            return
        tried.append("  - %s: %s" % (name, reason))
    fail(_NOT_FOUND.format(tried = "\n".join(tried), version = LIBTORCH_VERSION))

libtorch_repository = repository_rule(
    implementation = _libtorch,
    environ = [
        "LIBTORCH_HOME",
        "PYTHON_BIN_PATH",
        "TINKEX_CACHE",
        "XDG_CACHE_HOME",
        "HOME",
        "PATH",
    ],
    local = True,
    configure = True,
)
