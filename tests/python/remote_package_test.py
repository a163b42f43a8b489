"""A remote model of the installed package beside what else Python and PyTorch have: explaining, metrics,
the compiler, TorchScript, Ctrl-C, and the example."""

import _thread
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import torch

import tinkex_torch
from remote_models import MODEL, ServiceTest, lists, padded, total


class ExplainTest(ServiceTest):
    def test_it_tells_the_requests_of_a_call_and_sends_none(self):
        with tinkex_torch.connect() as service:
            model = service.create_remote_model(MODEL, 4)
            inputs = {"target_tokens": lists()[1]}
        # The service is closed: whatever is sent fails.
        self.refused("closed", model, *lists(), kind=tinkex_torch.Closed)
        for batch in (lists(), padded()):
            told = model.explain(*batch)
            self.assertRegex(told, r"^2 passes, 2 requests, about \d+ bytes\nforward, by forward\(\)\n"
                             r"  sequences 0 to 2: \d+ numbers, .*\nforward_backward, by backward")
            with torch.no_grad():
                self.assertRegex(model.explain(*batch), "^1 pass, 1 request, ")
        many = [each for part in range(50) for each in lists()[0]]
        self.assertRegex(model.explain(many, many), "^2 passes, 4 requests")
        self.assertRegex(model.explain_loss("ppo", lists()[0], inputs),
                         r"^1 pass, 1 request, .*\nforward_backward with ppo, by loss\(\)\n")

    def test_it_refuses_what_the_call_refuses(self):
        model = self.model()
        tokens, targets = lists()
        self.refused(r"targets\[0\] has shape", model.explain, tokens, tokens[1:] + tokens[:1])
        self.refused("tokens is a list and targets is a Tensor", model.explain, tokens, targets[0])
        self.refused("loss_fn_inputs is a list", model.explain_loss, "ppo", tokens, targets)


class MetricsTest(ServiceTest):
    def test_a_model_has_those_of_its_last_backward_pass_and_the_optimizer_those_of_its_step(self):
        model, optimizer, tokens, targets = self.prepared(lr=1e-2)
        self.assertEqual(model.metrics, {})
        loss = model.loss("cross_entropy", tokens, {"target_tokens": targets})
        self.assertAlmostEqual(model.metrics["loss:sum"].item(), loss.item(), delta=1e-3)
        loss.backward()
        optimizer.step()
        (-total(model(tokens, targets))).backward()
        after = model.metrics["loss:sum"]
        self.assertLess(after.item(), loss.item())
        self.assertEqual((after.shape, after.dtype), ((), torch.float64))
        self.assertNotIn("loss:sum", optimizer.metrics)


class CompileTest(ServiceTest):
    def test_a_compiled_training_step_breaks_its_graph_at_the_model(self):
        model, optimizer, tokens, targets = self.prepared(lr=1e-2)

        @torch.compile(backend="aot_eager")
        def step(tokens, targets):
            scaled = [2 * each for each in model(tokens, targets)]
            loss = -torch.cat(scaled).sum() / 2
            loss.backward()
            optimizer.step()
            return loss

        losses = [step(tokens, targets).item() for _ in range(3)]
        self.assertLess(losses[-1], losses[0])
        self.expect_trained_alike(model, self.directly())

    def test_a_full_graph_is_refused(self):
        model = self.model()
        compiled = torch.compile(lambda *batch: model(*batch).sum(), fullgraph=True, backend="eager")
        with self.assertRaisesRegex(RuntimeError, "a remote model sends requests.*fullgraph"):
            compiled(*padded())


class ScriptTest(ServiceTest):
    def test_a_module_with_an_anchor_trains_after_it_was_saved_and_loaded(self):
        class Loss(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.anchor = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

            def forward(self, client: torch.classes.tinkex.TrainingClient,
                        tokens: list[torch.Tensor], targets: list[torch.Tensor]) -> torch.Tensor:
                return -torch.cat(torch.ops.tinkex.logprobs_list(client, self.anchor, tokens,
                                                                 targets)).sum()

        with tempfile.NamedTemporaryFile(suffix=".pt") as file:
            torch.jit.script(Loss()).save(file.name)
            module = torch.jit.load(file.name)
        model = self.model()
        for _ in range(3):
            module(model.client.native, *lists()).backward()
            torch.ops.tinkex.step(model.client.native, module.anchor, 1e-2)
        self.expect_trained_alike(model, self.directly())


class InterruptTest(ServiceTest):
    def test_ctrl_c_ends_the_wait_and_the_next_call_waits_for_the_one_given_up(self):
        model = self.model()
        begun, go_on, order = threading.Event(), threading.Event(), []

        def slow(client, anchor):
            begun.set()
            go_on.wait()
            order.append("given up")

        def interrupt():
            begun.wait()
            time.sleep(0.1)  # the main thread waits by now
            _thread.interrupt_main()  # a signal that came too early to wake a wait

        threading.Thread(target=interrupt).start()
        with self.assertRaises(KeyboardInterrupt):
            model._call(slow)
        threading.Timer(0.2, go_on.set).start()
        model._call(lambda *_: order.append("next"))
        self.assertEqual(order, ["given up", "next"])
        self.assertTrue(model(*padded()).requires_grad)


class ExampleTest(unittest.TestCase):
    def test_the_example_comes_to_prefer_every_chosen_answer(self):
        done = subprocess.run([sys.executable, "-B", "-W", "ignore", "examples/python/dpo.py"],
                              stdout=subprocess.PIPE, text=True, check=True)
        lines = done.stdout.splitlines()
        self.assertRegex(lines[-1], r"^6 of 6 ", done.stdout)
        losses = [float(x) for x in re.findall(r"^step \d+/20  loss ([\d.]+)", done.stdout, re.M)]
        self.assertEqual(len(losses), 10)
        self.assertLess(losses[-1], losses[0] / 1.5)


if __name__ == "__main__":
    unittest.main()
