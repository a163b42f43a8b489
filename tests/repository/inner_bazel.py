"""A Bazel inside a test, for workspaces that depend on this one."""

import os
import pwd
import re
import subprocess

import consumer

# Beside what the Bazel outside keeps for this checkout, so that what was compiled once stays, and
# `bazel clean --expunge` takes it away. A stranger's tinkex has other paths in its commands than this
# checkout's, so the two cannot share a disk cache.
_OUTSIDE = re.match(r"(.*)/execroot/", os.path.realpath("torch_ext/local_server"))
_KEPT = os.path.join(_OUTSIDE.group(1) if _OUTSIDE else os.environ["TEST_TMPDIR"], "tinkex_consumer")

# What Bazel puts into a test's environment must not reach the one inside.
_UNSET = {name: None for name in os.environ if name.startswith(("TEST_", "RUNFILES", "JAVA_RUNFILES"))}


class InnerBazel:
    """Bazel in one workspace."""

    def __init__(self, workspace, output_base=None):
        self.workspace = workspace
        self.startup = ["bazel", "--output_user_root=" + _KEPT, "--max_idle_secs=15"]
        if output_base:
            self.startup.append("--output_base=" + output_base)

    def __call__(self, command, *arguments, libtorch=None):
        """The finished process; `libtorch` is the folder of LIBTORCH_HOME."""
        options = []
        if command in ("build", "run", "test"):
            options = ["--symlink_prefix=/", "--show_progress_rate_limit=60", "--curses=no"]
        return consumer.run(*self.startup, command, *options, *arguments, folder=self.workspace,
                            HOME=pwd.getpwuid(os.getuid()).pw_dir,
                            LIBTORCH_HOME=libtorch or consumer.libtorch(), **_UNSET)

    def built(self, name, *options):
        """Path of what was built under this name in the root package with these options."""
        done = subprocess.run([*self.startup, "info", *options, "bazel-bin"], cwd=self.workspace, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return os.path.join(done.stdout.strip(), name)

    def shutdown(self):
        self("shutdown")
