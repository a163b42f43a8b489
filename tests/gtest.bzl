"""A test program of GoogleTest, compiled like the library."""

load("@rules_cc//cc:defs.bzl", "cc_test")
load("//third_party:copts.bzl", "TINKEX_COPTS")

def tinkex_test(name, deps, srcs = None, size = "small", **kwargs):
    """A cc_test whose source, unless `srcs` says otherwise, is NAME.cc."""
    cc_test(
        name = name,
        size = size,
        srcs = srcs or [name + ".cc"],
        copts = TINKEX_COPTS,
        deps = deps + ["@googletest//:main"],
        **kwargs
    )
