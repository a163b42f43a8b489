#!/usr/bin/env python3
"""Every program of the consumer's workspace, built by Bazel and run. Compiles all of torch_ext."""

import unittest

import consumer
import inner_bazel


class TorchConsumerTest(unittest.TestCase, consumer.Programs):
    @classmethod
    def setUpClass(cls):
        cls.bazel = inner_bazel.InnerBazel(consumer.SOURCES)
        cls.addClassCleanup(cls.bazel.shutdown)

    def test_every_program_is_built_and_does_what_it_should(self):
        self.expect_success(self.bazel("build", "//..."))
        self.check_core(self.bazel.built("core"))
        self.check_training(self.bazel.built("train"))
        self.check_op(self.bazel.built("load_op"), self.bazel.built("libsurprise.so"))


if __name__ == "__main__":
    unittest.main()
