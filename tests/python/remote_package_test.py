"""RemoteModel and RemoteAdamW of the installed package, on the embedded backend."""

import _thread
import copy
import io
import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, StepLR

import tinkex_torch
from tinkex_torch import InvalidArgument, RemoteAdamW, RemoteModel

MODEL = "tinkex/nano"
TEXTS = ["to be or not to be", "that is the question", "whether"]


def lists():
    tokens = [tinkex_torch.encode_text(text) for text in TEXTS]
    return [t[:-1] for t in tokens], [t[1:] for t in tokens]


def padded():
    tokens, targets = lists()
    pad = torch.nn.utils.rnn.pad_sequence
    return (pad(tokens, batch_first=True), pad(targets, batch_first=True, padding_value=-100))


def total(logprobs):
    return torch.cat([each.flatten() for each in logprobs]).sum()


class ServiceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = tinkex_torch.connect()
        cls.addClassCleanup(cls.service.close)

    def model(self, **settings):
        return self.service.create_remote_model(MODEL, 4, seed=7, **settings)

    def prepared(self, **settings):
        model = self.model()
        return model, RemoteAdamW(model, **settings), *lists()

    def scores(self, model):
        with torch.no_grad():
            return torch.cat(model(*lists()))

    def expect_trained_alike(self, one, other):
        torch.testing.assert_close(self.scores(one), self.scores(other), rtol=0, atol=1e-4)
        self.assertGreater((self.scores(one) - self.scores(self.model())).abs().max(), 0.3)

    def directly(self):
        """A model that three calls of its client's have trained, with the defaults of AdamW here."""
        model = self.model()
        tokens, targets = lists()
        for _ in range(3):
            model.client.forward_backward(tokens, {"target_tokens": targets})
            model.client.optim_step(1e-2, beta2=0.999, eps=1e-8, weight_decay=1e-2)
        return model

    def refused(self, told, call, *arguments, kind=InvalidArgument, **settings):
        with self.assertRaisesRegex(kind, told) as caught:
            call(*arguments, **settings)
        self.assertTrue(str(caught.exception).startswith("tinkex: ["), caught.exception)
        return caught.exception


class TrainingTest(ServiceTest):
    def test_lists_and_padded_batches_train_as_the_clients_calls_do(self):
        expected = self.directly()
        for batch in (lists(), padded(), [t.numpy() for t in padded()],
                      [[t.tolist() for t in part] for part in lists()]):
            model = self.model()
            optimizer = RemoteAdamW(model, lr=1e-2)
            for _ in range(3):
                loss = -total(model(*batch))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            self.expect_trained_alike(model, expected)
        self.assertGreater(optimizer.metrics["grad_norm"].item(), 0)

    def test_the_result_has_the_form_of_the_targets(self):
        model = self.model()
        tokens, targets = padded()
        result = model(tokens, targets)
        self.assertEqual((result.shape, result.dtype), (targets.shape, torch.float32))
        self.assertTrue(bool((result[targets == -100] == 0).all()))
        self.assertEqual(model(tokens, torch.stack([targets, targets], -1)).shape,
                         (*targets.shape, 2))
        each = model(*lists())
        self.assertIsInstance(each, list)
        self.assertEqual([t.shape for t in each], [t.shape for t in lists()[1]])

    def test_a_loss_of_two_forward_passes_trains_as_its_gradient_given_as_weights_does(self):
        model, optimizer, tokens, targets = self.prepared(lr=1e-2)
        other = self.model()

        def loss_of(first, second):
            return (first.mean() - 2 * second.mean()).square()

        for _ in range(3):
            loss_of(model(tokens[:1], targets[:1])[0], model(tokens[1:2], targets[1:2])[0]).backward()
            optimizer.step()
            with torch.no_grad():
                values = other(tokens[:2], targets[:2])
            values = [each.requires_grad_() for each in values]
            loss_of(*values).backward()
            other.client.forward_backward(tokens[:2], {
                "target_tokens": targets[:2], "weights": [-each.grad for each in values]})
            other.client.optim_step(1e-2, beta2=0.999, eps=1e-8, weight_decay=1e-2)
        self.expect_trained_alike(model, other)

    def test_a_local_module_is_trained_by_the_same_loss(self):
        torch.manual_seed(0)
        model, remote, tokens, targets = self.prepared(lr=5e-3)
        head = torch.nn.Linear(1, 1)
        local = torch.optim.AdamW(head.parameters(), lr=0.1)
        losses = []
        for _ in range(10):
            loss = (head(model([tokens[0]], [targets[0]])[0].mean()[None]) - 3).square().sum()
            for optimizer in (remote, local):
                optimizer.zero_grad()
            loss.backward()
            for optimizer in (remote, local):
                optimizer.step()
            losses.append(loss.item())
        self.assertLess(losses[-1], losses[0] / 2)
        self.assertGreater(head.weight.grad.abs().item(), 0)

    def test_several_backward_passes_add_up_until_the_step(self):
        model, optimizer, tokens, targets = self.prepared(lr=1e-2)
        for _ in range(3):
            for some, wanted in zip(tokens, targets):
                (-model([some], [wanted])[0].sum()).backward()
            optimizer.step()
        self.expect_trained_alike(model, self.directly())

    def test_schedulers_change_what_a_step_sends(self):
        for make in (lambda o: StepLR(o, 1, 0.5), lambda o: CosineAnnealingLR(o, 4),
                     lambda o: OneCycleLR(o, 1e-2, total_steps=5)):
            model, optimizer, tokens, targets = self.prepared(lr=1e-2)
            schedule, rates = make(optimizer), []
            for _ in range(3):
                (-total(model(tokens, targets))).backward()
                rates.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                self.assertAlmostEqual(optimizer.metrics["learning_rate"].item(), rates[-1])
                schedule.step()
            self.assertEqual(len(set(rates)), 3)

    def test_the_settings_that_a_step_sends_are_the_groups(self):
        model = self.model()
        optimizer = RemoteAdamW(model, torch.tensor(0.5), (0.1, 0.2), 0.3, 0.4, grad_clip_norm=0.6)
        sent = []
        with mock.patch.object(RemoteModel, "_call", lambda self, op, *rest: sent.append(rest)):
            optimizer.step()
            optimizer.param_groups[0].update(lr=0.7, grad_clip_norm=0)
            optimizer.step()
        self.assertEqual(sent, [(0.5, 0.1, 0.2, 0.3, 0.4, 0.6, False),
                                (0.7, 0.1, 0.2, 0.3, 0.4, 0.0, False)])
        schema = {each.name: each for each in torch.ops.tinkex.step.default._schema.arguments}
        defaults = RemoteAdamW(model).defaults
        defaults["beta1"], defaults["beta2"] = defaults.pop("betas")
        self.assertEqual(defaults, {name: schema[name].default_value for name in defaults})

    def test_a_closure_is_called_with_gradients_and_its_loss_is_given(self):
        model, optimizer, tokens, targets = self.prepared(lr=1e-2)

        def closure():
            optimizer.zero_grad()
            loss = -total(model(tokens, targets))
            loss.backward()
            return loss

        with torch.no_grad():
            losses = [optimizer.step(closure).item() for _ in range(3)]
        self.assertLess(losses[-1], losses[0])
        self.assertIsNone(optimizer.step())
        self.assertEqual(optimizer.metrics, {})  # no gradient: nothing was sent

    def test_without_gradients_there_is_no_graph(self):
        model = self.model()
        with torch.no_grad():
            self.assertFalse(model(*padded()).requires_grad)
        with torch.inference_mode():
            result = model(*padded())
        self.assertEqual((result.requires_grad, result.is_inference()), (False, True))
        self.assertTrue(model(*padded()).requires_grad)
        model.requires_grad_(False)
        self.assertFalse(model(*padded()).requires_grad)

    def test_graphs_made_on_any_thread_train(self):
        model, optimizer, tokens, targets = self.prepared(lr=1e-2)
        for _ in range(3):
            results = []
            for task in (lambda: results.append(-total(model(tokens, targets))),
                         lambda: results[0].backward(), optimizer.step):
                thread = threading.Thread(target=task)
                thread.start()
                thread.join()
        self.expect_trained_alike(model, self.directly())

    def test_checkpointing_and_anomaly_mode_train_alike(self):
        from torch.utils.checkpoint import checkpoint
        for reentrant in (False, True):
            model, optimizer, tokens, targets = self.prepared(lr=1e-2)
            for _ in range(3):
                with torch.autograd.detect_anomaly(check_nan=True):
                    zero = torch.zeros(1, requires_grad=True)
                    checkpoint(lambda x: x.sum() - total(model(tokens, targets)), zero,
                               use_reentrant=reentrant).backward()
                optimizer.step()
            self.expect_trained_alike(model, self.directly())

    def test_a_pipelined_model_gives_the_same_bits(self):
        scores = []
        for pipelined in (False, True):
            model = self.model(pipelined=pipelined)
            optimizer = RemoteAdamW(model, lr=1e-2)
            for _ in range(3):
                (-total(model(*lists()))).backward()
                optimizer.step()
            model.synchronize()
            scores.append(self.scores(model))
        self.assertTrue(torch.equal(*scores))

    def test_a_loss_of_the_servers_trains_in_one_pass(self):
        model, optimizer, tokens, targets = self.prepared(lr=1e-2)
        for _ in range(3):
            model.loss("cross_entropy", tokens, {"target_tokens": targets}).backward()
            optimizer.step()
        self.expect_trained_alike(model, self.directly())
        inputs = {"target_tokens": targets, "logprobs": [each.detach() for each in
                                                         model(tokens, targets)],
                  "advantages": [torch.ones(t.numel()) for t in targets]}
        loss = model.loss("ppo", tokens, inputs, {"clip_low_threshold": 0.9,
                                                  "clip_high_threshold": 1.1})
        self.assertAlmostEqual(loss.item(), -sum(t.numel() for t in targets), delta=1e-2)
        with torch.no_grad():
            self.assertFalse(model.loss("ppo", tokens, inputs).requires_grad)
        self.refused(r"backward\(\) was not called", optimizer.step)
        loss.backward()
        optimizer.step()

    def test_training_goes_on_from_a_saved_state_and_settings(self):
        model, optimizer, tokens, targets = self.prepared(lr=1e-2)
        schedule = StepLR(optimizer, 1, 0.5)

        def train(model, optimizer, schedule):
            (-total(model(tokens, targets))).backward()
            optimizer.step()
            schedule.step()

        train(model, optimizer, schedule)
        path = model.client.save_state("halfway", overwrite=True)
        file = io.BytesIO()
        torch.save([optimizer.state_dict(), schedule.state_dict()], file)
        file.seek(0)
        other = RemoteModel(self.service.create_training_client_from_state(path))
        other_optimizer = RemoteAdamW(other)
        other_schedule = StepLR(other_optimizer, 1, 0.5)
        for part, state in zip((other_optimizer, other_schedule), torch.load(file)):
            part.load_state_dict(state)
        self.assertEqual(other_optimizer.param_groups[0]["lr"], 5e-3)
        for each in ((model, optimizer, schedule), (other, other_optimizer, other_schedule)):
            train(*each)
        self.assertTrue(torch.equal(self.scores(model), self.scores(other)))


class RefusalTest(ServiceTest):
    def test_arguments(self):
        model = self.model()
        tokens, targets = lists()
        self.refused(r"tokens is a list and targets is a Tensor", model, tokens, targets[0])
        self.refused(r"targets\[0\] has shape", model, tokens, tokens[1:] + tokens[:1])
        self.refused(r"targets has dtype float32", model, padded()[0], padded()[1].float())
        self.refused(r"tokens has shape \(17\)", model, tokens[0], targets[0])
        self.refused(r"tokens is a str", model, "to be", torch.ones(1, 1))
        self.refused(r"tokens\[1\] is a str", model, [tokens[0], "b"], targets[:2])
        self.refused(r"loss_fn_inputs is a list", model.loss, "ppo", tokens, targets)
        self.refused(r"client is a Service", RemoteModel, self.service)
        for told, setting in {"lr is -1": -1, "lr is nan": float("nan"), r"betas\[1\] is 1": (0, 1),
                              "betas is 3": 3, "eps is 0": 0,
                              "weight_decay is inf": float("inf")}.items():
            self.refused(told, RemoteAdamW, model, **{re.match(r"\w+", told).group(): setting})
        self.refused(r"model is a generator.*RemoteAdamW\(model\)", RemoteAdamW, model.parameters())
        with self.assertRaises(TypeError):
            model.loss(3, tokens, {})
        optimizer = RemoteAdamW(model)
        other = torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
        self.refused(r"lacks grad_clip_norm", optimizer.load_state_dict, other.state_dict())
        self.refused("one group", optimizer.add_param_group, {"params": [torch.zeros(1)]})

    def test_a_gradient_that_the_server_cannot_discard_or_change(self):
        model, optimizer, tokens, targets = self.prepared()
        scaler = torch.amp.GradScaler("cpu")
        for told, change in (
                ("zero_grad", optimizer.zero_grad),
                ("zero_grad", lambda: model.zero_grad(set_to_none=False)),
                ("clip_grad_norm_", lambda: torch.nn.utils.clip_grad_norm_(model.parameters(), 1)),
                ("GradScaler", lambda: scaler.unscale_(optimizer))):
            scaler.scale(total(model(tokens, targets))).backward()
            change()
            self.refused(told, optimizer.step)
            model.accept_server_gradient()
            optimizer.step()
            self.assertIn("grad_norm", optimizer.metrics)

    def test_backward_passes_are_runtime_errors_that_translate(self):
        model, optimizer, tokens, targets = self.prepared()
        inputs = {"target_tokens": targets}

        def after_a_step():
            loss = total(model(tokens, targets))
            model.loss("cross_entropy", tokens, inputs).backward()
            optimizer.step()
            loss.backward()

        for told, backward in {
                "no second derivative": lambda: total(model(tokens, targets)).backward(
                    create_graph=True),
                r"step\(\) or load_state\(\) came between": after_a_step,
                "multiplied by 0.5": lambda: (0.5 * model.loss(
                    "cross_entropy", tokens, inputs)).backward()}.items():
            with self.assertRaisesRegex(RuntimeError, told) as caught:
                backward()
            self.assertNotIsInstance(caught.exception, tinkex_torch.Error)
            self.assertIsInstance(tinkex_torch.parse_error(caught.exception), InvalidArgument)
            with self.assertRaisesRegex(InvalidArgument, told), tinkex_torch.translate_errors():
                backward()
            model.accept_server_gradient()
            model.zero_grad()
        loss = total(model(tokens, targets))
        loss.backward()
        with self.assertRaisesRegex(RuntimeError, "second time"):
            loss.backward()

    def test_an_optimizer_of_pytorchs_is_noticed(self):
        model, _, tokens, targets = self.prepared()
        local = torch.optim.SGD(model.parameters(), lr=1.0)
        total(model(tokens, targets)).backward()
        local.step()
        self.refused("Give the model to RemoteAdamW", model, tokens, targets)

    def test_weights_are_neither_saved_nor_copied_here(self):
        model = self.model()
        optimizer = RemoteAdamW(model)
        around = torch.nn.ModuleDict({"remote": model, "local": torch.nn.Linear(1, 1)})
        for call in (model.state_dict, lambda: model.load_state_dict({}), around.state_dict,
                     lambda: around.load_state_dict({"remote.anchor": torch.zeros(1)}),
                     lambda: pickle.dumps(model), lambda: copy.deepcopy(around),
                     lambda: copy.copy(model), lambda: torch.save(model, io.BytesIO()),
                     lambda: pickle.dumps(optimizer), lambda: copy.deepcopy(optimizer),
                     lambda: optimizer.load_state_dict({"state": {0: {}}, "param_groups": []})):
            self.refused(r"on the (model's )?server.*save_state\(name\)", call)
        weights = {"local." + name: torch.ones_like(value)
                   for name, value in around["local"].state_dict().items()}
        around.load_state_dict(weights)
        self.assertEqual(around["local"].bias.item(), 1)

    def test_moving_and_converting_have_no_effect(self):
        model = self.model()
        anchor = model.anchor
        around = torch.nn.ModuleList([model, torch.nn.Linear(1, 1)])
        for move in (model.half, model.cuda, model.float, lambda: model.to("meta"),
                     lambda: model.to(torch.bfloat16), around.bfloat16, model.eval):
            move()
        self.assertIs(model.anchor, anchor)
        self.assertEqual((anchor.dtype, anchor.device.type), (torch.float64, "cpu"))
        self.assertEqual(around[1].weight.dtype, torch.bfloat16)
        self.assertEqual([name for name, _ in model.named_parameters()], ["anchor"])
        total(model(*lists())).backward()
        RemoteAdamW(model).step()

    def test_scripts_traces_and_transforms(self):
        model = self.model()
        tokens, targets = padded()
        self.refused("cannot be scripted.*logprobs_list", torch.jit.script, model)
        with torch.no_grad():
            self.refused("torch.jit.trace", torch.jit.trace, model, (tokens, targets))
        self.refused("torch.func", torch.func.grad(lambda anchor: torch.func.functional_call(
            model, {"anchor": anchor}, (tokens, targets)).sum()), model.anchor.detach())
        self.refused("torch.func", torch.func.vmap(lambda row: model([row], [row])[0]), tokens)
        self.refused("holds no data", model, tokens.to("meta"), targets.to("meta"))

    def test_a_closed_service_says_so_and_a_forked_child_connects_itself(self):
        with tinkex_torch.connect() as service:
            model = service.create_remote_model(MODEL, 4)
            optimizer = RemoteAdamW(model)
            loss = total(model(*lists()))
            child = os.fork()
            if child == 0:
                try:
                    model(*lists())
                except tinkex_torch.Closed:
                    os._exit(5)
                os._exit(1)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 5)
        self.refused("closed", model, *lists(), kind=tinkex_torch.Closed)
        with self.assertRaises(tinkex_torch.Closed), tinkex_torch.translate_errors():
            loss.backward()
        optimizer.zero_grad()


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
