#!/usr/bin/env python3
"""The documents are true: their links, labels, numbers, codes and examples exist in the sources."""

import difflib
import os
import re
import unittest

import checkout

DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
DOCUMENTS += checkout.files("docs", suffixes=(".md",))

UNITS = {20: "MiB", 30: "GiB"}
DURATIONS = ("_timeout", "_interval", "_backoff", "_hold", "_failing", "max_elapsed",
             "max_retry_after")


def as_written(field, initialiser):
    """A C++ initialiser as the documents write it: `std::size_t{64} << 20` is "64 MiB"."""
    shifted = re.fullmatch(r"std::\w+\{(\d+)\} << (\d+)", initialiser)
    if shifted:
        return "%s %s" % (shifted.group(1), UNITS[int(shifted.group(2))])
    if initialiser == "std::nullopt":
        return "none"
    number = int(initialiser.replace("'", ""))
    if any(word in field for word in DURATIONS):
        return "%d s" % (number // 1000) if number % 1000 == 0 else "%d ms" % number
    return "{:,}".format(number)


def defaults(header, struct):
    """{field: default as written} of one options struct."""
    body = re.search(r"struct %s \{(.*?)\n\};" % struct, checkout.read(header), re.S).group(1)
    number = r"(std::\w+\{\d+\} << \d+|std::nullopt|[\d']+)"
    found = re.findall(r" (\w+)(?: = |\{)" + number + r"\}?;", body)
    return {field: as_written(field, initialiser) for field, initialiser in found}


def rows(document, heading=""):
    """Cells of the table rows below a heading that contains `heading`."""
    section = checkout.read(document).split(heading, 1)[1].split("\n## ")[0] if heading else (
        checkout.read(document))
    return [[cell.strip() for cell in line.strip("|").split("|")]
            for line in section.splitlines() if line.startswith("| `")]


def bare_lines(text):
    """The lines without their indentation, as one text."""
    return "\n".join(line.strip() for line in text.strip().splitlines()) + "\n"


class DocumentsTest(unittest.TestCase):
    def test_links_lead_somewhere(self):
        broken = []
        for document in DOCUMENTS:
            prose = re.sub(r"^```.*?^```", "", checkout.read(document), flags=re.S | re.M)
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
                path = os.path.join(checkout.ROOT, os.path.dirname(document), target)
                if not target.startswith("http") and not os.path.exists(path):
                    broken.append("%s: %s" % (document, target))
        self.assertEqual(broken, [])

    def test_labels_exist(self):
        broken = []
        for document in DOCUMENTS:
            for package, name in re.findall(r"(?<![\w@:])//([\w/]*):([\w.]+\w)",
                                            checkout.read(document)):
                build = os.path.join(package, "BUILD.bazel")
                if not os.path.exists(os.path.join(checkout.ROOT, build)) or (
                        '"%s"' % name not in checkout.read(build)):
                    broken.append("%s: //%s:%s" % (document, package, name))
        self.assertEqual(broken, [])

    def test_the_program_in_the_readme_is_the_example(self):
        block = re.search(r"```cpp\n(.*?)```", checkout.read("README.md"), re.S).group(1)
        self.assertEqual(block, checkout.read("examples/readme_example.cc"))

    def expect_snippets(self, guide, program, least, *others):
        told = re.findall(r"```cpp\n(.*?)```", checkout.read(guide), re.S)
        self.assertGreater(len(told), least)
        lines = "\n".join(bare_lines(checkout.read(each)) for each in (program, *others))
        for block in told:
            self.assertIn(bare_lines(block), lines)

    def test_the_snippets_of_the_testing_guide_are_in_its_program(self):
        self.expect_snippets("docs/testing.md", "examples/testing_example.cc", 5)

    def test_the_snippets_of_the_training_guide_are_in_its_program(self):
        self.expect_snippets("docs/training_client.md", "examples/training_example.cc", 3)

    def test_the_snippets_of_the_service_guide_are_in_its_program(self):
        self.expect_snippets("docs/service_client.md", "examples/core_example.cc", 3)

    def test_the_snippets_of_the_embedded_backends_guide_are_in_its_programs(self):
        self.expect_snippets(
            "docs/embedded_backend.md", "examples/logits_loss_example.cc", 4, "examples/adapter_example.cc")

    def test_the_snippets_of_the_guide_to_losses_are_in_its_programs(self):
        self.expect_snippets("docs/writing_a_loss.md", "examples/dpo.cc", 3,
                             "examples/verifiable_rewards.cc", "examples/distillation.cc")

    def test_the_remote_models_guide_shows_how_its_two_loops_differ(self):
        self.expect_snippets("docs/remote_model.md", "examples/remote_loop.cc", 1)
        told = re.search(r"```diff\n(.*?)```", checkout.read("docs/remote_model.md"), re.S).group(1)
        local, remote = ([line for line in checkout.read("examples/%s_loop.cc" % name).splitlines()]
                         for name in ("local", "remote"))
        main = "int main() try {"
        changes = difflib.unified_diff(local[local.index(main):], remote[remote.index(main):], n=0)
        changed = [line for line in changes if line[0] in "+-" and line[:3] not in ("+++", "---")]
        self.assertEqual(told.splitlines(), changed)

    def test_the_snippets_of_the_workspace_guide_are_in_its_programs(self):
        self.expect_snippets("docs/bazel_workspace.md", "tests/consumer/surprise_op.cc", 0)
        files = {"python": ("WORKSPACE", "BUILD.bazel"), "cmake": ("CMakeLists.txt",),
                 "": (".bazelrc",)}
        told = checkout.read("docs/bazel_workspace.md")
        blocks = re.findall(r"```(\w*)\n(.*?)```", told, re.S)
        compared = [(kind, text) for kind, text in blocks if kind in files
                    and "http_archive" not in text  # bazel_consumer_test loads that
                    and "./bazelw" not in text]  # cmake_consumer_test runs that
        self.assertEqual([kind for kind, _ in compared],
                         ["python", "", "python", "python", "cmake", "cmake"])
        for kind, text in compared:
            real = "\n".join(checkout.read("tests/consumer/" + name) for name in files[kind])
            self.assertIn(text, real)

    def test_the_messages_in_the_workspace_guide_are_those_of_the_sources(self):
        told = checkout.read("docs/bazel_workspace.md")
        for source, message in (
                ("third_party/libtorch/libtorch.bzl", "tinkex: LibTorch was not found. Tried, in this order:"),
                ("third_party/libtorch/libtorch.bzl", "holds LibTorch %s; tinkex needs %s or later"),
                ("third_party/system_library.bzl", "tinkex: %s was not found: no %s under"),
                ("tools/cmake/tinkexTorchExt.cmake",
                 "tinkex::torch_ext was compiled against LibTorch @LIBTORCH_SERIES@, and CMake found "),
                ("tools/cmake/tinkexTorchExt.cmake",
                 "tinkex::torch_ext needs LibTorch @LIBTORCH_SERIES@, which was not found")):
            self.assertIn(message, checkout.read(source))
            self.assertRegex(told, re.sub(r"%s|@\w+@", r"\\S+", re.escape(message)))

    def test_the_snippets_of_the_data_guide_are_in_its_programs(self):
        self.expect_snippets("docs/data.md", "examples/dataset_example.cc", 6,
                             "tests/torch_ext/data_test.cc")

    def test_the_service_guide_lists_every_call(self):
        told = checkout.read("docs/service_client.md")
        for header, name in (("tinkex/service_client.h", "ServiceClient"),
                             ("tinkex/training_client.h", "TrainingClient"),
                             ("tinkex/sampling_client.h", "SamplingClient")):
            body = re.search(r"class %s \{(.*?)\n private:" % name, checkout.read(header), re.S)
            calls = re.findall(r"^  [\w:<>&* ]+ (\w+)\(", body.group(1), re.M)
            self.assertGreater(len(calls), 3)
            for call in calls:
                if call not in (name, "connection_"):
                    self.assertIn("`%s(" % call, told)

    def test_the_ops_guide_names_every_op_and_no_other(self):
        schemas = checkout.read("tests/golden/op_schemas.txt")
        ops = {re.sub(r"_(async|future)$", "", name)
               for name in re.findall(r"^tinkex::(\w+)\(", schemas, re.M)} - {"make_traceable", "stop_callbacks",
                                                                                   "tell_again"}
        told = checkout.read("docs/ops.md")
        named = [name for cells in rows("docs/ops.md") for name in re.findall(r"`(\w+)", cells[0])]
        self.assertEqual(sorted(named), sorted(ops))
        for method in re.findall(r"^PendingSample\.(\w+)\(", schemas, re.M):
            self.assertIn("`%s(" % method, told)

    def test_the_testing_guide_names_every_part_of_a_plan_and_replies_that_exist(self):
        told = checkout.read("docs/testing.md")
        plan = re.search(r"struct OperationPlan \{(.*?)\n\};",
                         checkout.read("tinkex/mocks/tinker_operations.h"), re.S).group(1)
        for part in re.findall(r" (\w+)(?:\{.*\}| = \w+);", plan):
            if part != "result_opens":  # for reorder()
                self.assertIn("`%s`" % part, told)
        replies = checkout.read("tinkex/mocks/scripted_reply.h")
        for call in re.findall(r"(?:Reply::|\)\.)(\w+)\(", "".join(re.findall(r"`Reply.*?`", told))):
            self.assertRegex(replies, r"Reply %s\(" % call)

    def test_limits_are_those_of_the_headers(self):
        for struct, header in (("ChunkLimits", "tinkex/options.h"),
                               ("ClientOptions", "tinkex/options.h"),
                               ("RetryOptions", "tinkex/options.h"),
                               ("BackendOptions", "torch_ext/local/backend_options.h")):
            told = rows("docs/limits.md", "`%s`" % struct)
            self.assertTrue(told, struct)
            real = defaults(header, struct)
            for cells in told:
                field = cells[0].strip("`")
                self.assertEqual(cells[1], real.get(field), "%s::%s" % (struct, field))

    def test_every_error_code_is_explained(self):
        body = re.search(r"enum class ErrorCode \{(.*?)\};", checkout.read("tinkex/error.h"), re.S)
        codes = re.findall(r"^\s*(k\w+),", body.group(1), re.M)
        self.assertEqual([row[0].strip("`") for row in rows("docs/errors.md")], codes)

    def test_every_variable_of_the_library_is_listed(self):
        read = set(re.findall(r'"(TINKER_\w+)"', checkout.read("tinkex/config/resolve.cc")))
        told = set(re.findall(r"^\| `(TINKER_\w+)`", checkout.read("README.md"), re.M))
        self.assertEqual(told, read)

    # Spec F5, A3, A4.
    def test_f5_a3_a4_the_readme_gives_the_commands(self):
        told = checkout.read("README.md")
        for command in ("./bazelw test //tests/tinkex:training_client_test "
                        "//tests/tinkex:sampling_client_test\n", "./bazelw test //...\n",
                        ".ci/run ", "tools/check "):
            self.assertIn("\n" + command, told)


if __name__ == "__main__":
    unittest.main()
