"""Training inside one graph of torch.compile: what a graph holds is sent once each time it runs, in the
order of the program, and never while a function is traced."""

import gc
import pickle
import sys
import types
import unittest
import weakref
from unittest import mock

import torch
from torch.autograd import forward_ad
from torch._subclasses.fake_tensor import FakeTensorMode

import tinkex_torch
from remote_models import MODEL, ServiceTest, lists
from tinkex_torch import TraceableClient, TrainingClient, _traceable

BACKENDS = ("eager", "aot_eager", "inductor")


class Recorder(TrainingClient):
    """A client that notes its calls."""

    def __init__(self, client):
        super().__init__(client.native, client._service)
        self.calls = []

    def forward(self, tokens, inputs, *settings):
        self.calls.append("forward of %d" % len(tokens))
        return super().forward(tokens, inputs, *settings)

    def forward_backward(self, tokens, inputs, *settings):
        self.calls.append("forward_backward of %d" % len(tokens))
        return super().forward_backward(tokens, inputs, *settings)

    def optim_step(self, learning_rate, **settings):
        self.calls.append("optim_step of %r" % learning_rate)
        return super().optim_step(learning_rate, **settings)


class TraceableTest(ServiceTest):
    def setUp(self):
        torch._dynamo.reset()
        self.clients = []  # which nothing else holds

    def traceable(self):
        client = Recorder(self.service.create_lora_training_client(MODEL, 4, seed=7))
        self.clients.append(client)
        return TraceableClient(client), client.calls

    def compiled(self, function):
        for backend in BACKENDS:
            torch._dynamo.reset()
            yield torch.compile(function, fullgraph=True, backend=backend)

    @staticmethod
    def train(traceable, tokens, targets, rate=1e-2):
        """A step with what an optimizer of graphs might drop, merge or move."""
        inputs = {"target_tokens": [targets]}
        traceable.forward_backward([tokens + 0], inputs)  # whose result is not used
        traceable.forward_backward([tokens + 0], inputs)  # and which looks like the one before
        traceable.optim_step(rate)
        weights = [torch.ones(len(targets)), torch.ones(2) / 2]
        loss, logprobs = traceable.forward_backward(
            [tokens, tokens[:2]], {"target_tokens": [targets, targets[:2]], "weights": weights})
        traceable.optim_step(rate, weight_decay=0.0)
        return loss / len(targets), logprobs[0].exp() * 2, logprobs[1]

    STEP = ["forward_backward of 1", "forward_backward of 1", "optim_step of 0.01",
            "forward_backward of 2", "optim_step of 0.01"]

    def test_every_call_of_a_graph_is_made_once_and_in_order(self):
        tokens, targets = lists()
        eager, calls = self.traceable()
        expected = [self.train(eager, tokens[i], targets[i]) for i in (0, 1, 0)]
        self.assertEqual(calls, self.STEP * 3)
        for compiled in self.compiled(self.train):
            traceable, calls = self.traceable()
            actual = [compiled(traceable, tokens[i], targets[i]) for i in (0, 1, 0)]
            self.assertEqual(calls, self.STEP * 3)
            torch.testing.assert_close(actual, expected)

    def test_calls_whose_results_nobody_wants_are_made_as_well(self):
        def drop(traceable, tokens, targets):
            traceable.forward_backward([tokens], {"target_tokens": [targets]})
            traceable.optim_step(0.5)
            return tokens + 1

        for compiled in self.compiled(drop):
            traceable, calls = self.traceable()
            compiled(traceable, lists()[0][0], lists()[1][0])
            self.assertEqual(calls, ["forward_backward of 1", "optim_step of 0.5"])

    def test_an_exported_program_makes_the_calls_of_the_client_that_it_is_called_with(self):
        train = self.train

        class Step(torch.nn.Module):
            def forward(self, traceable, tokens, targets):
                return train(traceable, tokens, targets)

        tokens, targets = lists()[0][0], lists()[1][0]
        (first, its_calls), (second, calls) = self.traceable(), self.traceable()
        exported = torch.export.export(Step(), (first, tokens, targets)).module()
        self.assertEqual(its_calls, [])
        exported(second, tokens, targets)
        self.assertEqual((its_calls, calls), ([], self.STEP))

    def test_another_client_or_learning_rate_takes_the_place_of_the_first_one(self):
        graphs = []

        def count(graph, inputs):
            graphs.append(graph)
            return graph

        compiled = torch.compile(self.train, fullgraph=True, backend=count)
        tokens, targets = lists()[0][0], lists()[1][0]
        for rate in (1e-2, 2e-2):
            for traceable, calls in (self.traceable(), self.traceable()):
                compiled(traceable, tokens, targets, rate)
                self.assertEqual(calls[-1], "optim_step of %r" % rate)
                self.assertEqual(len(calls), 5)
        self.assertLessEqual(len(graphs), 2)  # one of each rate at most

    def test_a_schedule_of_rates_in_a_tensor_stays_one_graph(self):
        tokens, targets = lists()[0][0], lists()[1][0]

        def train(traceable, tokens, rate):
            traceable.forward_backward([tokens], {"target_tokens": [targets]})
            traceable.optim_step(rate)

        rates = [1e-3 * (i + 1) for i in range(10)]  # more than torch.compile would make graphs
        for compiled in self.compiled(train):
            traceable, calls = self.traceable()
            graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
            for rate in rates:
                compiled(traceable, tokens, torch.tensor(rate, dtype=torch.float64))
            self.assertEqual(calls[1::2], ["optim_step of %r" % rate for rate in rates])
            self.assertEqual(torch._dynamo.utils.counters["stats"]["unique_graphs"], graphs + 1)

    def test_a_rate_of_several_numbers_is_refused_before_the_graph_sends_anything(self):
        for compiled in (self.train, *self.compiled(self.train)):
            traceable, calls = self.traceable()
            with self.assertRaisesRegex(Exception, r"learning_rate has shape \[2\]"):
                compiled(traceable, lists()[0][0], lists()[1][0], torch.ones(2))
            self.assertEqual(calls[2:], [])  # without a graph the step is the third call

    def test_a_client_that_was_compiled_goes_with_its_last_holder(self):
        def train(traceable, tokens):
            traceable.optim_step(torch.full((), 0.5))
            return tokens + 1

        for compiled in self.compiled(train):
            traceable, calls = self.traceable()
            self.clients[-1].forward_backward([lists()[0][0]], {"target_tokens": [lists()[1][0]]})
            compiled(traceable, lists()[0][0])
            client = weakref.ref(self.clients.pop())
            gc.collect()
            self.assertIsNone(client())
            for each in (train, compiled):
                with self.assertRaisesRegex(tinkex_torch.Closed, "keep the client"):
                    each(traceable, lists()[0][0])

    def test_a_backward_pass_of_local_weights_sends_nothing_again(self):
        def scaled(traceable, scale, tokens, targets):
            loss, logprobs = traceable.forward_backward([tokens], {"target_tokens": [targets]})
            return (scale.sin() * logprobs[0]).exp().sum() + loss

        for compiled in self.compiled(scaled):
            traceable, calls = self.traceable()
            scale = torch.ones(len(lists()[0][0]), requires_grad=True)
            compiled(traceable, scale, lists()[0][0], lists()[1][0]).backward()
            self.assertEqual(calls, ["forward_backward of 1"])
            self.assertGreater(scale.grad.abs().sum().item(), 0)

    def test_results_have_the_shapes_that_were_foreseen(self):
        traceable, _ = self.traceable()
        tokens, targets = lists()
        several = [torch.stack([each, each], 1) for each in targets]
        for inputs in ({"target_tokens": targets}, {"target_tokens": several, "weights": [
                torch.ones(each.shape) for each in several]}):
            real = traceable.forward(tokens, inputs)
            with FakeTensorMode() as mode:
                fake = traceable.forward(
                    [mode.from_tensor(t) for t in tokens],
                    {name: [mode.from_tensor(t) for t in each] for name, each in inputs.items()})
            for one, other in zip([real.loss, *real.logprobs], [fake.loss, *fake.logprobs],
                                  strict=True):
                self.assertEqual((one.shape, one.dtype, one.device, one.stride()),
                                 (other.shape, other.dtype, other.device, other.stride()))

    def test_a_loss_with_settings_is_the_one_of_the_client(self):
        traceable, _ = self.traceable()
        tokens, targets = lists()
        inputs = {"target_tokens": targets, "logprobs": [-torch.ones(len(t)) for t in targets],
                  "advantages": [torch.ones(len(t)) for t in targets]}
        config = {"clip_low_threshold": 0.9, "clip_high_threshold": 1.1}
        expected = self.clients[0].forward(tokens, inputs, "ppo", config)
        for compiled in self.compiled(lambda traceable, tokens: traceable.forward(
                tokens, inputs, "ppo", config)):
            self.assertEqual(compiled(traceable, tokens).loss, expected.metrics["loss:sum"])

    def test_nothing_is_sent_of_fake_tensors(self):
        traceable, calls = self.traceable()
        tokens, targets = lists()
        with FakeTensorMode() as mode:
            fake = mode.from_tensor(tokens[0])
            traceable.forward_backward([fake], {"target_tokens": [fake]})
            traceable.optim_step()
        self.assertEqual(calls, [])

    def test_what_is_wrong_is_said_before_anything_is_sent(self):
        traceable, calls = self.traceable()
        tokens, targets = lists()[0][0], lists()[1][0]
        weights = torch.ones(len(targets), requires_grad=True)
        for told, inputs in (
                (r"\['target_tokens'\] has 0 tensors and tokens has 1", {}),
                (r"\['target_tokens'\] has 2 tensors", {"target_tokens": [targets, targets]}),
                ("requires a gradient", {"target_tokens": [targets], "weights": [weights * 2]})):
            def function(traceable, tokens, inputs=inputs):
                return traceable.forward_backward([tokens], inputs).loss + 1

            for each in (function, *self.compiled(function)):
                with self.assertRaisesRegex(Exception, told):
                    each(traceable, tokens)
        self.assertEqual(calls, [])
        with self.assertRaisesRegex(tinkex_torch.Error, "gradient"):
            self.clients[0].optim_step(1e-3)  # there is none
        with self.assertRaisesRegex(tinkex_torch.InvalidArgument, r"tokens\[0\] is a list, expected"):
            traceable.forward_backward([[1, 2]], {"target_tokens": [targets]})
        with self.assertRaisesRegex(tinkex_torch.InvalidArgument, r"\['target_tokens'\]\[0\] is a"):
            traceable.forward([tokens], {"target_tokens": [[1, 2]]})
        with self.assertRaisesRegex(tinkex_torch.InvalidArgument, "expected a TrainingClient"):
            TraceableClient(traceable)
        with self.assertRaisesRegex(TypeError, "cannot be pickled"):
            pickle.dumps(traceable)

    def test_a_transform_that_wants_a_gradient_of_a_call_is_refused_and_sends_nothing(self):
        traceable, calls = self.traceable()
        tokens, targets = lists()[0][0], lists()[1][0]
        func, weights, rate = torch.func, torch.ones(len(lists()[1][0])), torch.tensor(1e-3)

        def loss(weights):
            return traceable.forward_backward(
                [tokens], {"target_tokens": [targets], "weights": [weights]}).loss

        def step(rate):
            traceable.optim_step(rate)
            return rate

        def along():
            with forward_ad.dual_level():
                return loss(forward_ad.make_dual(weights, weights))

        for told, call in (
                (r"\['weights'\]\[0\] requires a gradient", lambda: func.grad(loss)(weights)),
                ("has a tangent", lambda: func.jvp(loss, (weights,), (weights,))),
                ("has a tangent", lambda: torch.no_grad()(func.jvp)(loss, (weights,), (weights,))),
                ("has a tangent", along),
                ("requires a gradient", lambda: func.jacrev(loss)(weights)),
                ("requires a gradient", lambda: loss(weights.clone().requires_grad_())),
                ("learning_rate requires a gradient", lambda: func.grad(step)(rate)),
                ("Batching rule", lambda: func.vmap(loss)(weights[None]))):
            with self.assertRaisesRegex(RuntimeError, told):
                call()
        self.assertEqual(calls, [])
        scaled = func.grad(lambda scale: scale * loss(weights).float())(torch.tensor(2.0))
        self.assertGreater(scaled, 0)  # of what is around a call there is one
        with torch.no_grad():
            loss(weights.clone().requires_grad_())
        self.assertEqual(calls, ["forward_backward of 1"] * 2)

    def test_a_cuda_graph_does_not_hold_the_calls(self):
        from torch._inductor import config
        from torch._inductor.utils import get_op_names

        traceable, calls = self.traceable()
        for name in _traceable._KERNELS:
            op = getattr(torch.ops.tinkex_torch, name).default
            self.assertEqual(config.custom_should_partition_ops.count(get_op_names(op)[0]), 1)
        batch = [lists()[0][0]], {"target_tokens": [lists()[1][0]]}
        with mock.patch.multiple(torch.cuda, is_initialized=lambda: True,
                                 is_current_stream_capturing=lambda: True):
            for call in (lambda: traceable.forward(*batch), traceable.optim_step,
                         lambda: traceable.forward_backward(*batch)):
                self.refused("while a CUDA graph is captured", call)
        self.assertEqual(calls, [])

    def test_a_server_that_reports_no_loss_is_told_of_with_what_it_has_summed(self):
        traceable, _ = self.traceable()
        batch = [lists()[0][0]], {"target_tokens": [lists()[1][0]]}
        nothing = tinkex_torch.BatchResult({}, {})
        for call, told in (("forward", "no loss:sum and no logprobs .*made. forward"),
                           ("forward_backward", r"is summed all the same: optim_step\(\) applies")):
            with mock.patch.object(self.clients[0], call, lambda *batch: nothing):
                self.refused(told, getattr(traceable, call), *batch, kind=tinkex_torch.Error)

    def test_calls_work_outside_of_graphs_where_pytorch_lacks_what_graphs_need(self):
        def refuse(*arguments, **settings):
            raise TypeError("unexpected keyword argument 'typ'")

        member = types.SimpleNamespace(INLINED=0)
        for other in (types.SimpleNamespace(),
                      types.SimpleNamespace(MemberType=member, register_opaque_type=refuse)):
            with mock.patch.object(_traceable, "opaque_object", other):
                defined = _traceable._define()
            self.assertIsNot(defined, torch.ops.tinkex_torch)
            with mock.patch.object(_traceable, "_calls", defined):
                traceable, calls = self.traceable()
                self.train(traceable, lists()[0][0], lists()[1][0],
                           torch.tensor(1e-2, dtype=torch.float64))
            self.assertEqual(calls, self.STEP)

    KNOWN = types.SimpleNamespace(  # what is looked for in opaque_object
        MemberType=types.SimpleNamespace(INLINED=0),
        register_opaque_type=lambda *arguments, **settings: None,
        get_opaque_type_name=lambda kind: "Tensor")

    def test_what_graphs_need_is_looked_for_before_there_is_a_library(self):
        with mock.patch.object(_traceable, "opaque_object", self.KNOWN), \
                mock.patch.dict(sys.modules, {"torch._library.effects": None}), \
                mock.patch.object(torch.library, "Library") as library:
            self.assertIsNot(_traceable._define(), torch.ops.tinkex_torch)
        library.assert_not_called()

    def test_a_mistake_in_the_definition_of_the_ops_is_not_taken_for_an_older_pytorch(self):
        with mock.patch.object(_traceable, "opaque_object", self.KNOWN), \
                mock.patch.object(_traceable, "_effect_declarer"), \
                mock.patch.object(torch.library, "Library", side_effect=TypeError("a mistake")):
            with self.assertRaisesRegex(TypeError, "a mistake"):
                _traceable._define()

    def test_differentiable_calls_break_the_graph_and_send_nothing_while_traced(self):
        model = self.model()
        ops, native, anchor = torch.ops.tinkex, model.client.native, model.anchor
        tokens, targets = lists()[0][0], lists()[1][0]
        inputs = {"target_tokens": [targets]}
        for function in (
                lambda tokens: ops.loss(native, anchor, [tokens + 0], inputs) * 1,
                lambda tokens: ops.logprobs(native, anchor, tokens[None] + 0, targets[None]) * 1,
                lambda tokens: ops.logprobs_list(native, anchor, [tokens + 0], [targets])[0] * 1,
                lambda tokens: model.loss("cross_entropy", [tokens + 0], inputs) * 1,
                lambda tokens: model([tokens + 0], [targets])[0] * 1):
            torch._dynamo.reset()
            with self.assertRaises(Exception):
                torch.compile(function, backend="eager", fullgraph=True)(tokens)
            self.assertEqual(ops.step(native, anchor), {})  # there is no gradient, and none is open
            result = torch.compile(function, backend="aot_eager")(tokens)
            result.sum().backward()
            self.assertIn("grad_norm", ops.step(native, anchor, 0.0))  # one pass; else it would raise

    def test_other_calls_break_the_graph_and_are_made_once(self):
        _, calls = self.traceable()
        client = self.clients[0]
        tokens, targets = lists()[0][0], lists()[1][0]

        def train(tokens, targets):
            result = client.forward_backward([tokens + 0], {"target_tokens": [targets]})
            client.optim_step(1e-2)
            return result.metrics["loss:sum"] * 2

        def train_by_ops(tokens, targets):
            ops, native = torch.ops.tinkex, client.native
            metrics = ops.forward_backward(native, [tokens + 0], {"target_tokens": [targets]})[1]
            ops.optim_step(native, 1e-2)
            return metrics["loss:sum"] * 2

        for function in (train, train_by_ops):
            for backend in BACKENDS[:2]:
                torch._dynamo.reset()
                calls.clear()
                result = torch.compile(function, backend=backend)(tokens, targets)
                self.assertGreater(result.item(), 0)
                if function is train:
                    self.assertEqual(calls, ["forward_backward of 1", "optim_step of 0.01"])
                with self.assertRaisesRegex(tinkex_torch.Error, "no gradient"):
                    client.optim_step(1e-2)  # which the one step has applied
                torch._dynamo.reset()
                with self.assertRaises(Exception):
                    torch.compile(function, backend=backend, fullgraph=True)(tokens, targets)
                with self.assertRaisesRegex(tinkex_torch.Error, "no gradient"):
                    client.optim_step(1e-2)  # nothing was sent


if __name__ == "__main__":
    unittest.main()
