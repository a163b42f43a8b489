"""What a remote model of the installed package cannot do is refused, and says what to do instead."""

import copy
import io
import os
import pickle
import re
import unittest
from unittest import mock

import torch

import tinkex_torch
from remote_models import MODEL, ServiceTest, lists, padded, total
from tinkex_torch import InvalidArgument, RemoteAdamW, RemoteModel, _waiting


class RefusalTest(ServiceTest):
    def test_arguments(self):
        model = self.model()
        tokens, targets = lists()
        self.refused(r"tokens is a list and targets is a Tensor", model, tokens, targets[0])
        self.refused(r"targets\[0\] has shape", model, tokens, tokens[1:] + tokens[:1])
        self.refused(r"targets has dtype float32", model, padded()[0], padded()[1].float())
        self.refused(r"tokens has shape \[17\]", model, tokens[0], targets[0])
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
        self.refused(r"lacks 'param_groups'", optimizer.load_state_dict, {})
        self.refused(r"lr is 'fast', expected a number", RemoteAdamW, model, "fast")
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

    def test_an_input_of_the_servers_loss_that_requires_a_gradient(self):
        model = self.model()
        tokens, targets = lists()
        weights = [torch.ones(t.numel(), requires_grad=True) for t in targets]
        inputs = {"target_tokens": targets, "weights": [each * 2 for each in weights]}
        for call in (model.loss, model.explain_loss):
            self.refused(r"loss_fn_inputs\['weights'\]\[0\] requires a gradient", call,
                         "cross_entropy", tokens, inputs)
        with torch.no_grad():
            model.loss("cross_entropy", tokens, inputs)

    def test_a_load_counts_from_when_it_is_sent(self):
        model, optimizer, tokens, targets = self.prepared()
        path = model.client.save_state("before", overwrite=True)
        for end in (lambda handle: handle.cancel(), lambda handle: handle.wait(),
                    lambda handle: None):
            loss = total(model(tokens, targets))
            end(model.client.load_state_async(path))
            with self.assertRaisesRegex(RuntimeError, r"step\(\) or load_state\(\) came between"):
                loss.backward()
            model.client.load_state(path)  # ends all doubt
            total(model(tokens, targets)).backward()
            optimizer.step()
        for _ in range(1000):
            handle = model.client.load_state_async(path)
            handle.cancel()
            if handle.state() == "cancelled":
                break
        else:
            self.fail("each of a thousand loads was faster than its cancel()")
        self.refused(r"unknown what gradient.*load_state\(\)", self.trained_step, model, optimizer)

    def test_a_step_of_the_client_counts_as_one_of_the_model(self):
        model, optimizer, tokens, targets = self.prepared()
        loss = total(model(tokens, targets))
        total(model(tokens, targets)).backward()
        model.client.optim_step(1e-3)
        with self.assertRaisesRegex(RuntimeError, r"step\(\) or load_state\(\) came between"):
            loss.backward()
        self.refused(r"optim_step\(\) of its client has made it void", optimizer.step)
        optimizer.zero_grad()
        total(model(tokens, targets)).backward()
        optimizer.step()
        self.assertIn("grad_norm", optimizer.metrics)

    def test_a_change_of_the_weights_within_backward_stops_it(self):
        model, optimizer, tokens, targets = self.prepared()
        path = model.client.save_state("within", overwrite=True)

        def within(hook):
            weight = torch.ones((), requires_grad=True)
            factor = weight.exp()  # before the model, so that its hook runs behind the model's node
            weight.register_post_accumulate_grad_hook(lambda _: hook() and None)
            with self.assertRaisesRegex(RuntimeError, r"step\(\) or load_state\(\) came between"):
                (total(model(tokens, targets)) * factor).backward()
            optimizer.zero_grad()
            optimizer.step()
            self.assertEqual(optimizer.metrics, {})

        model.client.forward_backward(tokens, {"target_tokens": targets})
        within(lambda: model.client.optim_step(1e-3))
        within(lambda: model.client.load_state(path))
        within(lambda: model.load_state(path))
        model.anchor.register_post_accumulate_grad_hook(lambda _: optimizer.step())
        total(model(tokens, targets)).backward()
        with self.assertRaisesRegex(RuntimeError, r"lacks 1: .* step\(\) was called within it"):
            total(model(tokens, targets)).backward()
        self.assertEqual(optimizer.metrics, {})

    def trained_step(self, model, optimizer):
        with tinkex_torch.translate_errors():
            total(model(*lists())).backward()
        optimizer.step()

    def test_a_failure_that_ctrl_c_has_kept_from_the_caller_is_raised_by_the_next_call(self):
        def leave_after_it(call):
            call._finished.wait()
            raise KeyboardInterrupt

        def leave_before_it(call):
            raise KeyboardInterrupt

        for leave in (leave_after_it, leave_before_it):
            model = self.model(pipelined=True)
            total(model(*lists())).backward()
            RemoteAdamW(model, lr=1e300).step()
            with mock.patch.object(_waiting._Call, "result", leave):
                with self.assertRaises(KeyboardInterrupt):
                    model.synchronize()
            self.refused("infinite", model.synchronize, kind=tinkex_torch.Error)

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

    def test_a_frozen_model_is_neither_stepped_nor_trained(self):
        model, optimizer, tokens, targets = self.prepared()
        model.requires_grad_(False)
        self.assertFalse(model(tokens, targets)[0].requires_grad)
        self.refused(r"step\(\) of a model whose parameter is frozen", optimizer.step)
        model.requires_grad_(True)
        total(model(tokens, targets)).backward()
        optimizer.step()

    def test_two_models_of_one_client_notice_each_other(self):
        model, optimizer, tokens, targets = self.prepared()
        other = RemoteModel(model.client)
        for each in (model, other):
            total(each(tokens, targets)).backward()
        self.refused("of 2 backward passes that the server has summed, .* lacks 1", optimizer.step)

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
        self.refused("torch.export", torch.export.export, model, (tokens, targets), strict=False)
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


if __name__ == "__main__":
    unittest.main()
