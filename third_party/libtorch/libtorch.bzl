"""Finds LibTorch when something that needs it is built; never when it is only declared."""

load("//third_party:versions.bzl", "LIBTORCH_VERSION")

_BUILD = """package(default_visibility = ["//visibility:public"])
exports_files(["python.sh"])
cc_library(
    name = "headers",
    hdrs = ["stamp.h"],           # changes with the version, so that everything is rebuilt
    textual_hdrs = ["include"],   # one directory instead of nine thousand inputs
    includes = {includes},        # -isystem: no warnings from LibTorch
)
cc_library(
    name = "libtorch",
    deps = [":headers"],
    linkopts = ["-L{libs}", "-Wl,-rpath,{libs}", "-Wl,--no-as-needed", "-ltorch", "-Wl,--as-needed", "-ltorch_cpu", "-lc10"],
)
"""

_API = "include/torch/csrc/api/include"

def _package_of(ctx, python):
    # find_spec does not import torch: 0.1 s instead of 2 s, and works without its dependencies.
    code = "import importlib.util as u, os; s = u.find_spec('torch'); print(os.path.dirname(s.origin) if s else '')"
    found = ctx.execute([python, "-c", code])
    return found.stdout.strip() if found.return_code == 0 else ""

def _candidates(ctx):
    env = ctx.os.environ
    if env.get("LIBTORCH_HOME"):  # an explicit choice never falls through to another one
        return [("LIBTORCH_HOME", env["LIBTORCH_HOME"], "")]
    checkout = str(ctx.path(Label("//third_party/libtorch:libtorch.bzl")).dirname.dirname.dirname)
    cache = env.get("TINKEX_CACHE") or (env.get("XDG_CACHE_HOME") or env.get("HOME", "") + "/.cache") + "/tinkex"
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

def _libtorch(ctx):
    tried = []
    for name, prefix, python in _candidates(ctx):
        libs = [prefix + d for d in ["/lib", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu"] if prefix and ctx.path(prefix + d + "/libtorch_cpu.so").exists]
        header = prefix + "/" + _API + "/torch/version.h"
        if not libs or not ctx.path(header).exists:
            tried.append("  - %s: %s" % (name, "no torch there" if not prefix else prefix + " has no " + ("headers" if libs else "libtorch_cpu.so")))
            continue
        if prefix == "/usr":  # -isystem /usr/include would break <cstdlib>; take only LibTorch's own folders
            for d in ["ATen", "c10", "caffe2", "torch"]:
                ctx.symlink("/usr/include/" + d, "include/" + d)
        else:
            ctx.symlink(prefix + "/include", "include")
        versions = [h for h in [prefix + "/include/torch/headeronly/version.h", header] if ctx.path(h).exists]  # 2.13 moved the numbers
        ctx.file("stamp.h", "// %s\n%s" % (prefix, ctx.read(versions[0])))
        # A script, not a symbolic link: a linked interpreter would not know its virtual environment.
        ctx.file("python.sh", "#!/bin/sh\nexec %s \"$@\"\n" % (python or "python3"), executable = True)
        ctx.file("BUILD.bazel", _BUILD.format(includes = ["include", _API], libs = libs[0]))
        return
    fail("\n\ntinkex: LibTorch was not found. Tried, in this order:\n" + "\n".join(tried) + """
Do one of these:
  - ./bazelw ... installs torch %s for you;
  - LIBTORCH_HOME=<unpacked LibTorch, or the torch folder of a Python installation>;
  - PYTHON_BIN_PATH=<a python that can import torch>.
The core library, //tinkex/..., builds without LibTorch.
""" % LIBTORCH_VERSION)

libtorch_repository = repository_rule(
    implementation = _libtorch,
    environ = ["LIBTORCH_HOME", "PYTHON_BIN_PATH", "TINKEX_CACHE", "XDG_CACHE_HOME", "HOME", "PATH"],
    local = True,
    configure = True,
)
