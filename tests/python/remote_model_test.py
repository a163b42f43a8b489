"""A remote model under torch.autograd, from Python and from TorchScript, on the embedded backend."""

import os
import tempfile
import unittest
from typing import List

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

torch.ops.load_library(os.environ["TINKEX_TORCH_LIBRARY"])
ops = torch.ops.tinkex

TEXTS = ["to be or not to be", "that is the question", "whether"]


class RemoteModel(torch.nn.Module):
    """What a module needs: the client, and the anchor that stands for its parameters."""

    def __init__(self, client):
        super().__init__()
        self.client = client
        self.anchor = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, tokens: List[torch.Tensor], targets: List[torch.Tensor]) -> List[torch.Tensor]:
        return torch.ops.tinkex.logprobs_list(self.client, self.anchor, tokens, targets)


def lists():
    tokens = [ops.encode_text(text) for text in TEXTS]
    return [t[:-1] for t in tokens], [t[1:] for t in tokens]


class RemoteModelTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = ops.connect()

    def client(self):
        return ops.create_lora_training_client(self.service, "tinkex/nano", 4, 7)

    def trained(self, train):
        """Log-probabilities after three steps."""
        client = self.client()
        train(client)
        tokens, targets = lists()
        return torch.cat(ops.logprobs_list(client, torch.zeros(1, dtype=torch.float64), tokens,
                                           targets))

    def step_directly(self, client):
        tokens, targets = lists()
        for _ in range(3):
            ops.forward_backward(client, tokens, {"target_tokens": targets})
            ops.optim_step(client, 1e-2, 0.9, 0.999, 1e-8, 1e-2)

    def test_backward_trains_as_the_api_does(self):
        def train(client):
            model = RemoteModel(client)
            tokens, targets = lists()
            for _ in range(3):
                loss = -sum(each.sum() for each in model(tokens, targets))
                loss.backward()
                ops.step(client, model.anchor, 1e-2)

        torch.testing.assert_close(self.trained(train), self.trained(self.step_directly),
                                   rtol=0, atol=1e-4)

    def test_a_padded_batch_trains_alike(self):
        def train(client):
            model = RemoteModel(client)
            tokens, targets = lists()
            pad = torch.nn.utils.rnn.pad_sequence
            for _ in range(3):
                logprobs = ops.logprobs(client, model.anchor, pad(tokens, batch_first=True),
                                        pad(targets, batch_first=True, padding_value=-100))
                self.assertEqual(logprobs.shape, (3, 19))
                (-logprobs.sum()).backward()
                ops.step(client, model.anchor, 1e-2)

        torch.testing.assert_close(self.trained(train), self.trained(self.step_directly),
                                   rtol=0, atol=1e-4)

    def test_the_servers_loss_trains_in_one_pass(self):
        def train(client):
            anchor = torch.zeros(1, dtype=torch.float64, requires_grad=True)
            tokens, targets = lists()
            for _ in range(3):
                ops.loss(client, anchor, tokens, {"target_tokens": targets}).backward()
                ops.step(client, anchor, 1e-2)

        torch.testing.assert_close(self.trained(train), self.trained(self.step_directly),
                                   rtol=0, atol=1e-4)

    def test_a_scripted_module_trains_after_it_was_saved_and_loaded(self):
        @torch.jit.script
        def loss_of(logprobs: List[torch.Tensor]) -> torch.Tensor:
            total = torch.zeros([])
            for each in logprobs:
                total = total - each.sum()
            return total

        def train(client):
            tokens, targets = lists()
            anchor = torch.zeros(1, dtype=torch.float64, requires_grad=True)
            with tempfile.NamedTemporaryFile(suffix=".pt") as file:
                loss_of.save(file.name)
                loaded = torch.jit.load(file.name)
            for _ in range(3):
                loaded(ops.logprobs_list(client, anchor, tokens, targets)).backward()
                ops.step(client, anchor, 1e-2)

        torch.testing.assert_close(self.trained(train), self.trained(self.step_directly),
                                   rtol=0, atol=1e-4)

    def test_a_scripted_function_calls_the_model(self):
        @torch.jit.script
        def total(client: torch.classes.tinkex.TrainingClient, anchor: torch.Tensor,
                  tokens: List[torch.Tensor], targets: List[torch.Tensor]) -> torch.Tensor:
            return torch.cat(torch.ops.tinkex.logprobs_list(client, anchor, tokens, targets)).sum()

        client = self.client()
        anchor = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        tokens, targets = lists()
        total(client, anchor, tokens, targets).backward()
        self.assertGreater(anchor.grad.item(), 1e29)
        self.assertTrue(any("grad" in name for name in ops.step(client, anchor)))

    def test_a_script_explains_a_call_and_reads_the_metrics(self):
        @torch.jit.script
        def told(client: torch.classes.tinkex.TrainingClient, anchor: torch.Tensor,
                 tokens: List[torch.Tensor], targets: List[torch.Tensor]) -> str:
            return (torch.ops.tinkex.explain_list(client, anchor, tokens, targets)
                    + torch.ops.tinkex.explain_loss(client, anchor, tokens,
                                                    {"target_tokens": targets}))

        client = self.client()
        anchor = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        tokens, targets = lists()
        self.assertRegex(told(client, anchor, tokens, targets), "2 passes, 2 requests(.|\n)*1 pass")
        self.assertEqual(ops.metrics(client, anchor), {})
        loss = ops.loss(client, anchor, tokens, {"target_tokens": targets})
        self.assertAlmostEqual(ops.metrics(client, anchor)["loss:sum"].item(), loss.item(), delta=1e-3)

    def test_refusals_are_readable(self):
        client = self.client()
        anchor = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        tokens, targets = lists()
        with self.assertRaisesRegex(ValueError, "anchor is not a float64 CPU tensor"):
            ops.logprobs_list(client, torch.zeros(1), tokens, targets)
        with self.assertRaisesRegex(ValueError, "anchor was computed from other tensors"):
            ops.loss(client, anchor * 1, tokens, {"target_tokens": targets})
        with self.assertRaisesRegex(ValueError, r"targets\[0\] has shape"):
            ops.logprobs_list(client, anchor, tokens, tokens[1:] + tokens[:1])
        with self.assertRaisesRegex(ValueError, "targets has dtype float32"):
            ops.logprobs(client, anchor, torch.ones(1, 2).long(), torch.ones(1, 2))
        sums = torch.cat(ops.logprobs_list(client, anchor, tokens, targets)).sum()
        with self.assertRaisesRegex(RuntimeError, "no second derivative"):
            sums.backward(create_graph=True)
        anchor.grad = None
        torch.cat(ops.logprobs_list(client, anchor, tokens, targets)).sum().backward()
        anchor.grad = None
        with self.assertRaisesRegex(ValueError, "zero_grad"):
            ops.step(client, anchor)
        ops.accept_server_gradient(client, anchor)
        ops.step(client, anchor)

    def test_it_is_not_traced(self):
        client = self.client()
        anchor = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        tokens = torch.ones(1, 2, dtype=torch.long, device="meta")
        with self.assertRaisesRegex(ValueError, "no data|without data"):
            ops.logprobs(client, anchor, tokens, tokens)
        with self.assertRaisesRegex(ValueError, "no data|without data"), torch.no_grad():
            ops.logprobs(client, anchor, tokens, tokens)

    def test_no_op_runs_on_fake_tensors(self):
        client = self.client()
        with FakeTensorMode():
            anchor = torch.zeros(1, dtype=torch.float64, requires_grad=True)
            tokens = torch.ones(1, 2, dtype=torch.long)
            calls = {
                "logprobs": lambda: ops.logprobs(client, anchor, tokens, tokens),
                "logprobs_list": lambda: ops.logprobs_list(client, anchor, [tokens[0]], [tokens[0]]),
                "loss": lambda: ops.loss(client, anchor, [tokens[0]], {"target_tokens": [tokens[0]]}),
                "step": lambda: ops.step(client, anchor),
                "synchronize": lambda: ops.synchronize(client, anchor),
                "accept_server_gradient": lambda: ops.accept_server_gradient(client, anchor),
                "metrics": lambda: ops.metrics(client, anchor),
                "explain": lambda: ops.explain(client, anchor, tokens, tokens),
                "explain_list": lambda: ops.explain_list(client, anchor, [tokens[0]], [tokens[0]]),
                "explain_loss": lambda: ops.explain_loss(client, anchor, [tokens[0]], {}),
            }
            for name, call in calls.items():
                with self.subTest(name), self.assertRaisesRegex(
                        Exception, "no data|without data|anchor is not"):
                    call()

    def test_pipelined_training_gives_the_same_bits(self):
        def train(pipelined):
            def run(client):
                anchor = torch.zeros(1, dtype=torch.float64, requires_grad=True)
                tokens, targets = lists()
                for _ in range(3):
                    out = ops.logprobs_list(client, anchor, tokens, targets, pipelined)
                    (-torch.cat(out).sum()).backward()
                    ops.step(client, anchor, 1e-2, pipelined=pipelined)
                ops.synchronize(client, anchor)
            return run

        self.assertTrue(torch.equal(self.trained(train(True)), self.trained(train(False))))


if __name__ == "__main__":
    unittest.main()
