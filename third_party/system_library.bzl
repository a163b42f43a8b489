"""Wraps an installed library as an external repository, or fails with the package to install."""

_BUILD = """package(default_visibility = ["//visibility:public"])

cc_library(
    name = "{name}",
    linkopts = {linkopts},
)
"""

_EXTRA = """
cc_library(
    name = "{name}",
    linkopts = ["-l{lib}"],
    deps = [":{main}"],
)
"""

_PREFIXES = [
    "/usr/include/",
    "/usr/local/include/",
    "/usr/include/x86_64-linux-gnu/",
    "/usr/include/aarch64-linux-gnu/",
]

def _system_library(ctx):
    for header in ctx.attr.headers:
        if not [p for p in _PREFIXES if ctx.path(p + header).exists]:
            fail("\n\ntinkex: %s was not found: no %s under %s.\nInstall it: apt-get install %s\n" % (
                ctx.attr.target,
                header,
                ", ".join(_PREFIXES),
                ctx.attr.package,
            ))

    # The compiler searches system include folders by itself; they need no `includes`.
    build = _BUILD.format(name = ctx.attr.target, linkopts = ["-l" + lib for lib in ctx.attr.libs])
    for name, lib in ctx.attr.extra.items():
        build += _EXTRA.format(name = name, lib = lib, main = ctx.attr.target)
    ctx.file("BUILD.bazel", build)

system_library = repository_rule(
    implementation = _system_library,
    attrs = {
        # Not the repository's own name: that is a longer one where modules are in use.
        "target": attr.string(mandatory = True),
        "headers": attr.string_list(mandatory = True),
        "libs": attr.string_list(),
        "extra": attr.string_dict(),
        "package": attr.string(mandatory = True),
        "licence": attr.string(mandatory = True),
    },
    local = True,
    configure = True,
)
