"""Compiler options of tinkex's own targets; a .bazelrc does not reach consumers."""

TINKEX_COPTS = [
    "-std=c++20",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wnon-virtual-dtor",
    "-Wimplicit-fallthrough",
]
