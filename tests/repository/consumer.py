"""What the tests of consumers share: the programs' sources, the server they need, LibTorch."""

import contextlib
import os
import re
import subprocess

import checkout

SOURCES = os.path.join(checkout.ROOT, "tests/consumer")
SERVER = os.path.abspath("torch_ext/local_server")
SANITIZED = "ASAN_OPTIONS" in os.environ  # set by --config=asan
PYTHON = os.path.abspath("../libtorch/python.sh")  # that of the LibTorch of this build
USE_OP = """
import sys, torch
torch.ops.load_library(sys.argv[1])
print("surprise", torch.ops.stranger.surprise(torch.tensor([104, 101, 108]), "tinkex/nano").shape)
print("tinkex", torch.ops.tinkex.encode_text("ab"))
"""


def libtorch():
    """The folder of the LibTorch of this build."""
    with open("../libtorch/stamp.h", encoding="utf-8") as file:
        return re.match(r"// (.*)", file.read()).group(1)


def run(*command, folder=None, **variables):
    """What a command ended with and said, both streams in one. Variables that are None are unset."""
    environment = {**os.environ, **variables}
    environment = {name: value for name, value in environment.items() if value is not None}
    done = subprocess.run(command, cwd=folder, env=environment, check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print("$ %s\n%s" % (" ".join(command), done.stdout), flush=True)
    return done


def linked(program):
    """The shared libraries of a program, as ldd lists them."""
    return subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout


@contextlib.contextmanager
def local_server():
    """The URL of a server with models of bytes."""
    server = subprocess.Popen([SERVER, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        for line in server.stdout:
            found = re.match(r"Serving .* on (\S+)", line)
            if found:
                yield found.group(1)
                return
        raise AssertionError("local_server did not say where it serves")
    finally:
        server.terminate()
        server.communicate()


class Programs:
    """Checks of the consumer's programs, wherever they were built; for a unittest.TestCase."""

    def expect_success(self, done):
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def check_core(self, program):
        self.assertNotIn("torch", linked(program))
        with local_server() as url:
            told = self.expect_success(run(program, TINKER_BASE_URL=url))
        self.assertRegex(told, r"^loss \S+ -> \S+\n$")
        refused = run(program, TINKER_BASE_URL="http://127.0.0.1:9")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("tinkex: [connection]", refused.stdout)

    def check_training(self, program):
        told = self.expect_success(run(program, TINKER_BASE_URL=None, TINKER_API_KEY=None))
        self.assertRegex(told, r"^loss \S+ -> \S+\n$")

    def check_op(self, program, library):
        told = self.expect_success(
            run(program, library, TINKER_BASE_URL=None, TINKER_API_KEY=None))
        self.assertRegex(told, r"surprise of 4 tokens: [1-9]")
        self.assertIn("refused: tinkex: [", told)
        # A LibTorch may come without Python, and Python knows no sanitizer.
        if not SANITIZED and run(PYTHON, "-c", "import torch").returncode == 0:
            told = self.expect_success(run(PYTHON, "-W", "ignore", "-c", USE_OP, library,
                                           TINKER_BASE_URL=None, TINKER_API_KEY=None))
            self.assertIn("surprise torch.Size([2])", told)
            self.assertIn("tinkex tensor([97, 98])", told)
