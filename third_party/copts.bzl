"""Compiler options of tinkex's own targets; a .bazelrc does not reach consumers."""

TINKEX_COPTS = [
    "-std=c++20",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wnon-virtual-dtor",
    "-Wimplicit-fallthrough",
    # g++ 12 takes the inactive member of a moved std::variant for uninitialised; clang does not know
    # the option.
    "-Wno-maybe-uninitialized",
    "-Wno-unknown-warning-option",
]
