"""One fuzz target: the library with its entry function, the fuzzer, and the test of its corpus."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")
load("//third_party:copts.bzl", "TINKEX_COPTS")

def fuzz_target(name, deps):
    """`name`_fuzz.cc defines LLVMFuzzerTestOneInput; corpus/`name` holds its kept inputs.

    Args:
      name: of the target, as tools/fuzz takes it.
      deps: what the entry function calls.
    """
    cc_library(
        name = name + "_entry",
        testonly = True,
        srcs = [name + "_fuzz.cc"],
        copts = TINKEX_COPTS,
        deps = [":properties"] + deps,
        alwayslink = True,
    )

    # libFuzzer, which --config=fuzz links in, brings the main function.
    cc_binary(
        name = name + "_fuzzer",
        testonly = True,
        tags = ["manual"],
        deps = [":" + name + "_entry"],
    )
    cc_test(
        name = name + "_corpus_test",
        size = "small",
        srcs = ["corpus_test.cc"],
        copts = TINKEX_COPTS,
        args = ["tests/fuzz/corpus/" + name],
        data = native.glob(["corpus/" + name + "/*"]),
        deps = [
            ":" + name + "_entry",
            "@googletest",
        ],
    )
