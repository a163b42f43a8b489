"""The repositories of deps.bzl for MODULE.bazel: the same table, as a module extension."""

load("//third_party:system_library.bzl", "system_library")
load("//third_party:versions.bzl", "SYSTEM_LIBRARIES")
load("//third_party/libtorch:libtorch.bzl", "libtorch_repository")

def _dependencies(_ctx):
    for name, arguments in SYSTEM_LIBRARIES.items():
        system_library(name = name, target = name, **arguments)
    libtorch_repository(name = "libtorch")

dependencies = module_extension(implementation = _dependencies)
