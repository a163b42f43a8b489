"""Static libraries of whole dependency trees, for programs that Bazel does not build."""

load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")

def _objects(targets, workspace, alwayslink):
    """The object files of this repository that `targets` link, without double ones, in order."""
    found = {}
    for target in targets:
        for linked in target[CcInfo].linking_context.linker_inputs.to_list():
            if linked.owner.workspace_name != workspace:
                continue
            for library in linked.libraries:
                if alwayslink == None or library.alwayslink == alwayslink:
                    for file in library.pic_objects or library.objects:
                        found[file] = True
    return found

def _archive(ctx):
    workspace = ctx.label.workspace_name
    without = _objects(ctx.attr.without, workspace, None)
    objects = [
        file
        for file in _objects(ctx.attr.deps, workspace, ctx.attr.alwayslink)
        if file not in without
    ]
    archive = ctx.actions.declare_file("lib%s.a" % ctx.label.name)
    arguments = ctx.actions.args()

    # Appended, not replaced: files of two folders may have the same name.
    arguments.add("qcsD", archive)
    arguments.add_all(objects)
    ctx.actions.run(
        executable = find_cpp_toolchain(ctx).ar_executable,
        arguments = [arguments],
        inputs = objects,
        outputs = [archive],
        mnemonic = "TinkexArchive",
    )
    return DefaultInfo(files = depset([archive]), runfiles = ctx.runfiles(files = [archive]))

tinkex_archive = rule(
    doc = "lib<name>.a with the objects of `deps` and of all that they need from this repository.",
    implementation = _archive,
    attrs = {
        # Whether to take what is linked only when it is referred to, or what is linked always.
        "alwayslink": attr.bool(default = False),
        "deps": attr.label_list(providers = [CcInfo]),
        # What these link is left out.
        "without": attr.label_list(providers = [CcInfo]),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
)

def _headers(ctx):
    files = []
    for target in ctx.attr.deps:
        files.append(target[CcInfo].compilation_context.headers)
    own = [
        file
        for file in depset(transitive = files).to_list()
        if file.owner and file.owner.workspace_name == ctx.label.workspace_name
    ]
    return DefaultInfo(files = depset(own), runfiles = ctx.runfiles(files = own))

tinkex_headers = rule(
    doc = "The headers of this repository that a program with these dependencies may include.",
    implementation = _headers,
    attrs = {"deps": attr.label_list(providers = [CcInfo])},
)
