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
from torch._subclasses.fake_tensor import FakeTensorMode

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
                             r"  request 1 of 1: 3 sequences, \d+ numbers, about \d+ bytes\n"
                             r"forward_backward, by backward")
            with torch.no_grad():
                self.assertRegex(model.explain(*batch), "^1 pass, 1 request, ")
        many = [each for part in range(50) for each in lists()[0]]
        self.assertRegex(model.explain(many, many), "^2 passes, 4 requests")
        ones = [torch.ones(each.shape) for each in inputs["target_tokens"]]
        inputs.update(logprobs=ones, advantages=ones)
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


class CompileScoresTest(ServiceTest):
    """A sampling client inside one graph: its scores have a shape that is known beforehand."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.samplers = [cls.service.create_sampling_client(name).native
                        for name in cls.service.supported_models()[:2]]
        cls.prompt = torch.arange(4)

    @staticmethod
    def score(sampler, prompt):
        return torch.ops.tinkex.compute_logprobs(sampler, prompt + 1) * 2

    @staticmethod
    def score_both(sampler, prompt):
        values, offsets = torch.ops.tinkex.compute_logprobs_ragged(sampler, [prompt + 1, prompt[:3]])
        return values * 2, offsets + 1

    def test_a_full_graph_gives_the_scores_of_the_client_that_it_is_called_with(self):
        for backend in ("eager", "aot_eager", "inductor"):
            torch._dynamo.reset()
            for function in (self.score, self.score_both):
                compiled = torch.compile(function, fullgraph=True, backend=backend)
                for sampler in self.samplers:
                    for prompt in (self.prompt, torch.arange(7)):
                        torch.testing.assert_close(compiled(sampler, prompt),
                                                   function(sampler, prompt), equal_nan=True)

    def test_an_exported_program_takes_a_client_or_holds_one(self):
        score = self.score

        class Taking(torch.nn.Module):
            def forward(self, sampler, prompt):
                return score(sampler, prompt)

        class Holding(torch.nn.Module):
            def __init__(self, sampler):
                super().__init__()
                self.sampler = sampler

            def forward(self, prompt):
                return score(self.sampler, prompt)

        first, second = self.samplers
        expected = [score(each, self.prompt) for each in self.samplers]
        taking = torch.export.export(Taking(), (first, self.prompt)).module()
        holding = torch.export.export(Holding(first), (self.prompt,)).module()
        for actual, wanted in ((taking(first, self.prompt), expected[0]),
                               (taking(second, self.prompt), expected[1]),
                               (holding(self.prompt), expected[0])):
            torch.testing.assert_close(actual, wanted, equal_nan=True)

    def test_wrong_prompts_and_other_calls_are_refused_while_tracing(self):
        for told, function in (
                ("2 dimensions, expected one", lambda sampler, prompt: self.score(
                    sampler, prompt[None])),
                ("the method session_id of a client", lambda sampler, prompt: (
                    sampler.session_id(), prompt + 1)[1])):
            torch._dynamo.reset()
            with self.assertRaisesRegex(Exception, told):
                torch.compile(function, fullgraph=True, backend="eager")(self.samplers[0],
                                                                         self.prompt)

    def test_a_clients_method_in_a_full_graph_is_refused_with_the_reason(self):
        client = self.service.create_lora_training_client(MODEL, 4)
        sampler = self.service.create_sampling_client(MODEL)
        prompt, result = self.prompt, sampler.compute_logprobs_async(self.prompt)
        for call in (lambda x: client.forward([x], {"target_tokens": [x]}).metrics["loss:sum"],
                     lambda x: sampler.sample(x).tokens[0], lambda x: result.wait() + x,
                     lambda x: x + len(self.service.supported_models())):
            torch._dynamo.reset()
            with self.assertRaisesRegex(RuntimeError, "a client sends requests, which no graph"):
                torch.compile(call, fullgraph=True, backend="eager")(prompt)

    def test_without_fullgraph_the_graph_breaks_at_all_other_calls(self):
        sampler = self.service.create_sampling_client(MODEL)
        ops, native = torch.ops.tinkex, sampler.native
        for function in (
                lambda prompt: sampler.sample(prompt + 1, max_tokens=4, seed=0).tokens[0] * 1,
                lambda prompt: sampler.compute_logprobs(prompt + 1)[1:] * 1,
                lambda prompt: ops.sample(native, prompt + 1, 1, 4, 0)[0][0] * 1,
                lambda prompt: ops.sample_ragged(native, [prompt + 1], 1, 4, 0)["tokens"] * 1,
                lambda prompt: ops.compute_logprobs_async(native, prompt + 1).wait()[1:] * 1,
                lambda prompt: len(ops.decode_text(prompt + 97)) + prompt,
                lambda prompt: len(native.session_id()) + prompt):
            torch._dynamo.reset()
            compiled = torch.compile(function, backend="aot_eager")
            self.assertTrue(torch.equal(compiled(self.prompt), function(self.prompt)))

    def test_what_stands_for_a_result_is_on_its_device(self):
        ops, sampler = torch.ops.tinkex, self.samplers[0]
        for device, expected in (("cuda", "cpu"), ("cpu", "cpu")):
            with FakeTensorMode():
                prompt = torch.zeros(4, dtype=torch.int64, device=device)
                results = [ops.compute_logprobs(sampler, prompt), ops.offsets_of([prompt]),
                           *ops.compute_logprobs_ragged(sampler, [prompt, prompt])]
                self.assertEqual([each.device.type for each in results], [expected] * 4)
                values, offsets = ops.from_lists([prompt, prompt])
                self.assertEqual((values.device.type, offsets.device.type), (device, expected))
        meta = torch.zeros(4, dtype=torch.int64, device="meta")
        self.assertEqual((ops.compute_logprobs(sampler, meta).device.type,
                          ops.offsets_of([meta]).device.type), ("meta", "meta"))

    def test_no_prompts_are_refused_in_our_words_while_tracing(self):
        def score(sampler, prompt):
            return torch.ops.tinkex.compute_logprobs_ragged(sampler, [])[0] + prompt

        for function in (score, torch.compile(score, fullgraph=True, backend="eager")):
            torch._dynamo.reset()
            with self.assertRaisesRegex(Exception, "prompts is empty, expected at least one"):
                function(self.samplers[0], self.prompt)
        with FakeTensorMode() as mode, self.assertRaisesRegex(ValueError, "has no dimensions"):
            torch.ops.tinkex.offsets_of([mode.from_tensor(torch.tensor(1))])

    def test_nothing_is_logged_and_nothing_is_sent_while_tracing(self):
        with tinkex_torch.connect() as closed:
            sampler = closed.create_sampling_client(MODEL).native
        with FakeTensorMode() as mode, self.assertNoLogs("torch._library.fake_class_registry"):
            fake = mode.from_tensor(self.prompt)
            self.assertEqual(self.score(sampler, fake).shape, (4,))
            self.assertEqual(self.score_both(sampler, fake)[0].shape, (7,))
            with self.assertRaisesRegex(RuntimeError, r"tinkex: \[invalid_argument\] tinkex.sample"):
                torch.ops.tinkex.sample(sampler, fake)
        torch._dynamo.reset()
        with self.assertNoLogs("torch._library.fake_class_registry"):
            torch.compile(self.score, fullgraph=True, backend="aot_eager")(*self.samplers[:1],
                                                                           self.prompt)


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
