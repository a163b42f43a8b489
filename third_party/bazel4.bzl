"""Stand-ins for the rule repositories that Debian's Bazel 4.2.3 would otherwise download."""

_FILES = {
    "rules_cc": {"cc/defs.bzl": [
        "cc_binary",
        "cc_import",
        "cc_library",
        "cc_proto_library",
        "cc_test",
        "cc_toolchain",
        "cc_toolchain_suite",
        "objc_library",
    ]},
    "rules_java": {"java/defs.bzl": [
        "java_binary",
        "java_import",
        "java_library",
        "java_package_configuration",
        "java_plugin",
        "java_runtime",
        "java_test",
        "java_toolchain",
    ]},
    "remote_coverage_tools": {},
}

def _stand_in(ctx):
    files = _FILES[ctx.attr.of]
    for path, rules in files.items():
        ctx.file(path, "".join(["%s = native.%s\n" % (rule, rule) for rule in rules]))
        ctx.file(path.split("/")[0] + "/BUILD.bazel", "")
    ctx.file("BUILD.bazel", "" if files else "\n".join([
        "filegroup(name = \"%s\", visibility = [\"//visibility:public\"])" % name
        for name in ["coverage_report_generator", "lcov_merger"]
    ]))

# A repository rule, not local_repository: the latter's relative path would point into a consumer's tree.
_stand_in_repository = repository_rule(
    implementation = _stand_in,
    attrs = {"of": attr.string(mandatory = True)},
)

def bazel4_stand_ins():
    """Declares the stand-ins, on Bazel 4 only: newer releases bring or fetch the real rules."""

    # Debian's build of 4.2.3 reports an empty version.
    if native.bazel_version and not native.bazel_version.startswith("4."):
        return
    for name in _FILES:
        if not native.existing_rule(name):
            _stand_in_repository(name = name, of = name)
