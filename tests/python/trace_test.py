"""Ops under torch.compile, torch.export and fake tensors."""

import contextlib
import os
import unittest

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

torch.ops.load_library(os.environ["TINKEX_TORCH_LIBRARY"])
ops = torch.ops.tinkex

BACKENDS = ("eager", "aot_eager")


class FormsUnderTracersTest(unittest.TestCase):
    def check(self, function, *arguments):
        expected = torch.utils._pytree.tree_leaves(function(*arguments))
        for backend in BACKENDS:
            compiled = torch.compile(function, fullgraph=True, backend=backend)
            actual = torch.utils._pytree.tree_leaves(compiled(*arguments))
            for a, e in zip(actual, expected, strict=True):
                self.assertTrue(torch.equal(a, e), backend)

    def test_text_becomes_tokens_inside_a_compiled_function(self):
        self.check(lambda x: ops.encode_text("abc") + x, torch.ones(3, dtype=torch.int64))

    def test_lists_become_values_with_offsets_inside_a_compiled_function(self):
        self.check(lambda a, b: ops.from_lists([a * 2, b]), torch.rand(3, 2), torch.rand(1, 2))

    def test_offsets_follow_dynamic_shapes(self):
        compiled = torch.compile(lambda a, b: ops.from_lists([a, b])[1] * 1, fullgraph=True,
                                 dynamic=True, backend="aot_eager")
        for length in (2, 5, 9):
            offsets = compiled(torch.rand(length), torch.rand(4))
            self.assertEqual(offsets.tolist(), [0, length, length + 4])

    def test_module_is_exported_and_run(self):
        class Join(torch.nn.Module):
            def forward(self, a, b):
                values, offsets = ops.from_lists([a, b])
                return values + 1, offsets, ops.encode_text("xy") * 2

        arguments = (torch.rand(3), torch.rand(2))
        exported = torch.export.export(Join(), arguments)
        values, offsets, text = exported.module()(*arguments)
        self.assertTrue(torch.equal(values, torch.cat(arguments) + 1))
        self.assertEqual(offsets.tolist(), [0, 3, 5])
        self.assertEqual(text.tolist(), [240, 242])

    def test_gradients_flow_through_a_compiled_join(self):
        a = torch.rand(3, requires_grad=True)
        compiled = torch.compile(lambda a: (ops.from_lists([a, a])[0] * torch.arange(6)).sum(),
                                 fullgraph=True, backend="aot_eager")
        compiled(a).backward()
        self.assertEqual(a.grad.tolist(), [3, 5, 7])

    def test_form_that_depends_on_data_is_refused_while_tracing(self):
        with FakeTensorMode() as mode:
            values = mode.from_tensor(torch.rand(3))
            offsets = mode.from_tensor(torch.tensor([0, 3]))
            with self.assertRaisesRegex(ValueError, "offsets holds no data"):
                ops.to_lists(values, offsets)


class RemoteOpsUnderTracersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = ops.connect()
        cls.model = ops.supported_models(cls.service)[0]
        cls.sampler = ops.create_sampling_client(cls.service, cls.model)

    @classmethod
    def tearDownClass(cls):
        cls.service.close()

    def test_logprobs_of_fake_prompts_have_a_shape_and_ask_nobody(self):
        closed = ops.connect()
        sampler = ops.create_sampling_client(closed, self.model)
        closed.close()  # whatever is sent from here on fails
        with FakeTensorMode() as mode:
            prompt = mode.from_tensor(torch.arange(5))
            logprobs = ops.compute_logprobs(sampler, prompt)
            self.assertEqual((logprobs.shape, logprobs.dtype), ((5,), torch.float32))
            values, offsets = ops.compute_logprobs_ragged(sampler, [prompt, prompt[:2]])
            self.assertEqual((values.shape, offsets.shape), ((7,), (3,)))
            self.assertEqual((values.dtype, offsets.dtype), (torch.float32, torch.int64))
            with self.assertRaisesRegex(ValueError, "2 dimensions, expected one"):
                ops.compute_logprobs(sampler, prompt.view(1, 5))

    def test_no_prompts_at_all_are_refused_as_elsewhere(self):
        for mode in (contextlib.nullcontext(), FakeTensorMode()):
            with mode, self.assertRaisesRegex(ValueError, "prompts is empty, expected at least one"):
                ops.compute_logprobs_ragged(self.sampler, [])

    def test_empty_lists_are_refused_by_every_op_that_takes_one(self):
        client = ops.create_lora_training_client(self.service, self.model, 4)
        anchor = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        calls = [lambda: ops.forward(client, [], {}),
                 lambda: ops.forward_backward(client, [], {}),
                 lambda: ops.sample_ragged(self.sampler, []),
                 lambda: ops.logprobs_list(client, anchor, [], [], False),
                 lambda: ops.loss(client, anchor, [], {}),
                 lambda: ops.from_lists([]), lambda: ops.offsets_of([])]
        for call in calls:
            with FakeTensorMode(allow_non_fake_inputs=True), self.assertRaises(ValueError):
                call()

    def test_other_remote_ops_refuse_fake_tensors_in_every_form(self):
        client = ops.create_lora_training_client(self.service, self.model, 4)
        with FakeTensorMode() as mode:
            fake = mode.from_tensor(torch.arange(3))
            calls = {"forward": (client, [fake], {}), "forward_backward": (client, [fake], {}),
                     "forward_ragged": (client, fake, fake, {}),
                     "forward_backward_ragged": (client, fake, fake, {}),
                     "sample": (self.sampler, fake), "sample_ragged": (self.sampler, [fake])}
            for name, arguments in calls.items():
                for form in ("", "_async", "_future"):
                    with self.assertRaisesRegex(ValueError, name + form + " .* which holds no data"):
                        getattr(ops, name + form)(*arguments)
            for form in ("_async", "_future"):
                with self.assertRaisesRegex(ValueError, "which holds no data"):
                    getattr(ops, "compute_logprobs" + form)(self.sampler, fake)

    def test_transforms_of_functions_are_refused_in_our_words(self):
        rows = torch.arange(6).reshape(2, 3)
        client = ops.create_lora_training_client(self.service, self.model, 4)
        for call in (lambda row: ops.compute_logprobs(self.sampler, row),
                     lambda row: ops.sample_ragged(self.sampler, [row])["tokens"],
                     lambda row: ops.forward(client, [row], {})[1]["loss:sum"]):
            with self.assertRaisesRegex(ValueError, "inside a transform of torch.func"):
                torch.func.vmap(call)(rows)

    def test_compiled_function_with_a_graph_break_calls_once(self):
        def twice(prompt):
            return ops.compute_logprobs(self.sampler, prompt + 1) * 2

        prompt = torch.arange(4)
        expected = ops.compute_logprobs(self.sampler, prompt + 1) * 2
        for backend in BACKENDS:
            actual = torch.compile(twice, backend=backend)(prompt)
            self.assertTrue(torch.equal(actual[1:], expected[1:]))


if __name__ == "__main__":
    unittest.main()
