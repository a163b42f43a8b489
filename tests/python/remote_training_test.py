"""RemoteModel and RemoteAdamW of the installed package train as the client's own calls do."""

import io
import threading
import unittest
from unittest import mock

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, StepLR

import tinkex_torch
from remote_models import ServiceTest, lists, padded, total
from tinkex_torch import RemoteAdamW, RemoteModel


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

    def test_a_model_that_was_made_in_inference_mode_trains(self):
        with torch.inference_mode():
            model = self.model()
        optimizer = RemoteAdamW(model, lr=1e-2)
        for _ in range(3):
            (-total(model(*lists()))).backward()
            optimizer.step()
        self.expect_trained_alike(model, self.directly())

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


class LoadTest(ServiceTest):
    def test_a_loop_without_zero_grad_goes_on_from_the_state_that_the_model_has_loaded(self):
        model, optimizer, tokens, targets = self.prepared(lr=1e-2)

        def step():
            (-total(model(tokens, targets))).backward()
            optimizer.step()

        path = model.client.save_state("begin")
        stale = -total(model(tokens, targets))
        stale.backward(retain_graph=True)
        self.assertEqual(model.load_state(path), path)
        self.assertIsNone(model.anchor.grad)
        with self.assertRaisesRegex(RuntimeError, r"step\(\) or load_state\(\) came between"):
            stale.backward()
        for _ in range(3):
            step()
            optimizer.zero_grad()
        self.expect_trained_alike(model, self.directly())
        model.load_state(path, with_optimizer=False)
        optimizer.step()  # there is nothing to apply
        self.assertEqual(optimizer.metrics, {})
        torch.testing.assert_close(self.scores(model), self.scores(self.model()))

    def test_loading_ends_the_doubt_that_a_load_which_failed_has_left(self):
        model, optimizer, tokens, targets = self.prepared(lr=1e-2)
        path = model.client.save_state("another")
        with self.assertRaisesRegex(tinkex_torch.Error, "no checkpoint"):
            model.load_state("tinker://nowhere/weights/none")
        with self.assertRaisesRegex(tinkex_torch.Error, "unknown what gradient"):
            optimizer.step()
        model.load_state(path)
        (-total(model(tokens, targets))).backward()
        optimizer.step()
        self.assertIn("grad_norm", optimizer.metrics)


if __name__ == "__main__":
    unittest.main()
