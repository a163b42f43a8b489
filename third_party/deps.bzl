"""Every repository that tinkex needs. A consumer calls tinkex_deps() in its WORKSPACE.

A repository that the consumer declared before under the same name wins.
"""

load("//third_party:bazel4.bzl", "bazel4_stand_ins")
load("//third_party:system_library.bzl", "system_library")
load("//third_party:versions.bzl", "SYSTEM_LIBRARIES")
load("//third_party/libtorch:libtorch.bzl", "libtorch_repository")

def tinkex_deps():
    """Declares the dependencies. None is looked for before a target that uses it is built."""
    bazel4_stand_ins()
    for name, arguments in SYSTEM_LIBRARIES.items():
        if not native.existing_rule(name):
            system_library(name = name, target = name, **arguments)
    if not native.existing_rule("libtorch"):
        libtorch_repository(name = "libtorch")
