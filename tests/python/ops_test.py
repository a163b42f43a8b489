"""torch.ops.tinkex and torch.classes.tinkex from Python, on the embedded backend."""

import copy
import http.server
import os
import pickle
import subprocess
import sys
import threading
import unittest

import torch

LIBRARY = os.environ["TINKEX_TORCH_LIBRARY"]
torch.ops.load_library(LIBRARY)
ops = torch.ops.tinkex
classes = torch.classes.tinkex


def batch(*texts):
    """Tokens and loss inputs of some texts."""
    tokens = [ops.encode_text(text) for text in texts]
    inputs = {
        "target_tokens": [t[1:] for t in tokens],
        "weights": [torch.ones(t.numel() - 1) for t in tokens],
    }
    return [t[:-1] for t in tokens], inputs


class RefusingServer:
    """Answers every request with 401, in a Python thread of this process."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = answer

        def log_message(self, *args):
            pass

    def __enter__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return "http://127.0.0.1:%d" % self.server.server_port

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()


class OpsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = ops.connect()
        cls.model = ops.supported_models(cls.service)[0]

    @classmethod
    def tearDownClass(cls):
        cls.service.close()

    def client(self, seed=1):
        return ops.create_lora_training_client(self.service, self.model, 8, seed)

    def loss(self, client, tokens, inputs):
        return ops.forward(client, tokens, inputs)[1]["loss:sum"]

    def test_without_url_and_key_the_embedded_backend_is_used(self):
        self.assertTrue(self.service.embedded())
        self.assertIn("embedded", self.service.description())

    # Spec F6.
    def test_one_training_step_and_one_sample(self):
        client = self.client()
        tokens, inputs = batch("hello world", "bye")
        outputs, metrics = ops.forward_backward(client, tokens, inputs)
        self.assertEqual([t.shape for t in outputs["logprobs"]], [t.shape for t in tokens])
        self.assertEqual(metrics["loss:sum"].dtype, torch.float64)
        self.assertEqual(metrics["loss:sum"].dim(), 0)
        total = -sum(t.double().sum().item() for t in outputs["logprobs"])
        self.assertAlmostEqual(metrics["loss:sum"].item(), total, delta=1e-3 * total)
        for value in ops.optim_step(client, 1e-3).values():
            self.assertEqual(value.dim(), 0)
        sampler = ops.save_weights_and_get_sampling_client(client)
        samples, logprobs, reasons = ops.sample(sampler, tokens[0], 3, 5, 11)
        self.assertEqual(len(samples), 3)
        for sample, logprob, reason in zip(samples, logprobs, reasons):
            self.assertEqual(sample.dtype, torch.int64)
            self.assertEqual(sample.shape, logprob.shape)
            self.assertIn(reason, ("stop", "length"))
        scores = ops.compute_logprobs(sampler, tokens[0])
        self.assertEqual(scores.shape, tokens[0].shape)
        self.assertTrue(scores[0].isnan())

    def test_training_lowers_the_loss(self):
        client = self.client()
        tokens, inputs = batch("the same text again and again")
        losses = []
        for _ in range(6):
            pending = ops.forward_backward_async(client, tokens, inputs)
            ops.optim_step(client, 1e-2)
            losses.append(pending.wait()[1]["loss:sum"].item())
        self.assertLess(losses[-1], 0.9 * losses[0])

    # Nobody may ask a handle that was dropped.
    def test_what_is_wrong_with_an_argument_is_raised_by_the_call_itself(self):
        client = self.client()
        tokens, inputs = batch("the same text")
        sampler = ops.save_weights_and_get_sampling_client(client)
        norm = None
        for form in ("", "_async", "_future"):
            ops.forward_backward(client, tokens, inputs)
            bad = {"optim_step": (client, float("nan")), "save_state": (client, "a/b"),
                   "load_state": (client, "nowhere"), "save_weights_for_sampler": (client, ""),
                   "forward": (client, tokens, {}), "forward_backward": (client, [tokens[0] - 999],
                                                                         inputs)}
            for name, arguments in bad.items():
                with self.assertRaisesRegex(ValueError, r"^tinkex: \[invalid_argument\]"):
                    getattr(ops, name + form)(*arguments)
            step = ops.optim_step(client, 0.0)
            self.assertAlmostEqual(step["grad_norm"].item(), norm or step["grad_norm"].item())
            norm = step["grad_norm"].item()
            with self.assertRaisesRegex(ValueError, "temperature"):
                getattr(ops, "sample" + form)(sampler, tokens[0], temperature=-1.0)

    def test_classes_do_what_the_ops_do(self):
        service = classes.Service("", "", "")
        client = service.create_lora_training_client(self.model, 8, 1)
        tokens, inputs = batch("hello world")
        by_method = client.forward(tokens, inputs)[1]["loss:sum"]
        self.assertTrue(torch.equal(by_method, self.loss(self.client(1), tokens, inputs)))
        sampler = client.save_weights_and_get_sampling_client()
        self.assertEqual(len(sampler.sample(tokens[0], 1, 2)[0]), 1)
        service.close()

    def test_connecting_need_not_wait(self):
        pending = ops.connect_async()
        services = [pending.wait(), ops.connect_future().wait(), ops.connect_embedded("")]
        self.assertTrue(pending.done() and pending.wait_for(0.0))
        self.assertEqual(pending.wait().session_id(), services[0].session_id())
        self.assertEqual(len({service.session_id() for service in services}), 3)
        for service in services:
            self.assertTrue(service.embedded())
            service.close()
        with self.assertRaisesRegex(ValueError, r"^tinkex: \[invalid_argument\] base_url"):
            ops.connect_async("no address", "tml-key").wait()

    def test_client_keeps_its_service_open(self):
        client = ops.create_lora_training_client(ops.connect(), self.model, 4)
        tokens, inputs = batch("still open")
        self.assertTrue(self.loss(client, tokens, inputs).isfinite())

    def test_results_arrive_though_the_client_and_its_service_were_dropped(self):
        def start(form):
            sampler = ops.create_sampling_client(ops.connect(), self.model)
            return getattr(ops, "sample" + form)(sampler, ops.encode_text("ab"), 16, 200,
                                                 stop_tokens=[])

        for form in ("_async", "_future"):
            self.assertEqual([len(tokens) for tokens in start(form).wait()[0]], [200] * 16)

    def test_state_is_saved_and_loaded(self):
        client = self.client(5)
        tokens, inputs = batch("remember me")
        ops.forward_backward(client, tokens, inputs)
        ops.optim_step(client, 1e-2)
        before = self.loss(client, tokens, inputs)
        path = ops.save_state(client, "checkpoint")
        self.assertTrue(path.startswith("tinker://"), path)
        other = ops.create_training_client_from_state(self.service, path)
        self.assertTrue(torch.equal(self.loss(other, tokens, inputs), before))
        third = self.client(6)
        ops.load_state(third, path)
        self.assertTrue(torch.equal(self.loss(third, tokens, inputs), before))

    def test_any_dtype_and_stride_gives_the_same_loss(self):
        client = self.client()
        tokens, inputs = batch("strides")
        expected = self.loss(client, tokens, inputs)
        strided = torch.stack([tokens[0], tokens[0]], dim=1)[:, 0]
        self.assertFalse(strided.is_contiguous())
        for dtype in (torch.float64, torch.bfloat16, torch.float16, torch.int32, torch.bool):
            weights = inputs["weights"][0].to(dtype)
            changed = dict(inputs, weights=[weights])
            loss = self.loss(client, [strided.to(torch.int32)], changed)
            self.assertTrue(torch.equal(loss, expected), dtype)

    def test_bad_arguments_are_value_errors_with_the_stable_prefix(self):
        client = self.client()
        tokens, inputs = batch("hello")
        bad = {
            "tokens is empty": ([], {}),
            r"tokens\[0\] has dtype float32": ([torch.ones(3)], {}),
            r"loss_fn_inputs\['weights'\] has 0 tensors": (tokens, dict(inputs, weights=[])),
        }
        for text, (some_tokens, some_inputs) in bad.items():
            with self.assertRaisesRegex(ValueError, r"^tinkex: \[invalid_argument\] " + text):
                ops.forward_backward(client, some_tokens, some_inputs)
        with self.assertRaisesRegex(ValueError, r"^tinkex: \[invalid_argument\] "):
            ops.create_sampling_client(self.service)
        with self.assertRaisesRegex(ValueError, r"seconds is NaN, .*; 0 does not wait"):
            ops.forward_async(client, tokens, inputs).wait_for(float("nan"))

    def test_errors_of_the_server_are_runtime_errors_with_the_stable_prefix(self):
        with self.assertRaisesRegex(RuntimeError, r"^tinkex: \[[a-z_]+\] .*no-such-model"):
            ops.create_lora_training_client(self.service, "no-such-model")
        closed = ops.connect()
        client = ops.create_lora_training_client(closed, self.model, 4)
        closed.close()
        with self.assertRaisesRegex(RuntimeError, r"^tinkex: \[closed\] "):
            ops.optim_step(client)
        with self.assertRaisesRegex(RuntimeError, r"tinkex: \[closed\] "):
            ops.optim_step_future(client).wait()

    def test_interpreter_lock_is_free_while_an_op_waits(self):
        # Were the lock held, the server, which is Python, could not answer.
        with RefusingServer() as url:
            with self.assertRaisesRegex(RuntimeError, r"^tinkex: \[.*HTTP 401"):
                ops.connect(url, "tml-secret-key")
            with self.assertRaisesRegex(RuntimeError, "HTTP 401"):
                classes.Service(url, "tml-secret-key", "")

    def test_error_text_never_holds_the_key(self):
        with RefusingServer() as url:
            with self.assertRaises(RuntimeError) as caught:
                ops.connect(url, "tml-secret-key")
        self.assertNotIn("secret", str(caught.exception))

    def test_handles_are_waited_for_on_several_threads(self):
        client = self.client()
        tokens, inputs = batch("waiting" * 4)
        pending = [ops.forward_backward_async(client, tokens, inputs) for _ in range(4)]
        results = [None] * len(pending)

        def wait(i):
            results[i] = pending[i].wait()[1]["loss:sum"]

        threads = [threading.Thread(target=wait, args=(i,)) for i in range(len(pending))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertTrue(all(torch.equal(result, results[0]) for result in results))

    def test_futures_are_those_of_torch(self):
        sampler = ops.create_sampling_client(self.service, self.model)
        prompt = ops.encode_text("abc")
        futures = [ops.compute_logprobs_future(sampler, prompt) for _ in range(3)]
        lengths = [f.then(lambda done: done.value().numel()) for f in futures]
        self.assertEqual([f.wait() for f in lengths], [3, 3, 3])
        results = torch.futures.wait_all(futures)
        self.assertTrue(torch.equal(results[0][1:], results[2][1:]))

    def test_handles_and_futures_of_calls_without_a_result_give_none(self):
        @torch.jit.script
        def forget(client: torch.classes.tinkex.TrainingClient):
            torch.jit.wait(torch.ops.tinkex.unload_future(client))

        for end in (forget, lambda client: ops.unload_async(client).wait(),
                    lambda client: client.unload_async().wait(),
                    lambda client: ops.unload_future(client).wait()):
            client = self.client()
            self.assertIsNone(end(client))
            with self.assertRaisesRegex(RuntimeError, "unload"):
                ops.optim_step(client)

    def test_dropped_handles_futures_and_services_do_no_harm(self):
        client = self.client()
        tokens, inputs = batch("dropped")
        for _ in range(20):
            ops.forward_backward_async(client, tokens, inputs)
            ops.forward_backward_future(client, tokens, inputs)
        ops.connect()
        self.assertTrue(self.loss(client, tokens, inputs).isfinite())

    def test_script_neither_drops_nor_merges_calls(self):
        @torch.jit.script
        def train(client: torch.classes.tinkex.TrainingClient, tokens: list[torch.Tensor],
                  inputs: dict[str, list[torch.Tensor]]) -> None:
            for _ in range(3):
                torch.ops.tinkex.forward_backward(client, tokens, inputs)
                torch.ops.tinkex.forward_backward(client, tokens, inputs)
                torch.ops.tinkex.optim_step(client, 1e-2)

        tokens, inputs = batch("scripted")
        scripted, eager = self.client(9), self.client(9)
        train(scripted, tokens, inputs)
        for _ in range(3):
            ops.forward_backward(eager, tokens, inputs)
            ops.forward_backward(eager, tokens, inputs)
            ops.optim_step(eager, 1e-2)
        losses = [self.loss(client, tokens, inputs) for client in (scripted, eager)]
        self.assertTrue(torch.equal(*losses), losses)

    def test_error_in_a_script_keeps_the_prefix(self):
        @torch.jit.script
        def fail(client: torch.classes.tinkex.TrainingClient):
            return torch.ops.tinkex.load_state(client, "tinker://nowhere/weights/none")

        with self.assertRaisesRegex(RuntimeError, r"tinkex: \[[a-z_]+\] "):
            fail(self.client())

    def test_fake_tensors_are_never_sent(self):
        from torch._subclasses.fake_tensor import FakeTensorMode

        client = self.client(3)
        tokens, inputs = batch("fake")
        with FakeTensorMode() as mode:
            fake = [mode.from_tensor(t) for t in tokens]
            fake_inputs = {k: [mode.from_tensor(t) for t in v] for k, v in inputs.items()}
            with self.assertRaisesRegex(ValueError, r"holds? no data.*; give a tensor with data"):
                ops.forward_backward(client, fake, fake_inputs)
        with self.assertRaisesRegex(ValueError, "holds no data"):
            client.forward_backward(fake, inputs)  # methods do not pass the dispatcher
        with self.assertRaisesRegex(ValueError, "holds no data"):
            ops.forward_backward(client, tokens, fake_inputs)
        with self.assertRaisesRegex(RuntimeError, "no gradient"):
            ops.optim_step(client)  # nothing had arrived at the backend

    def test_pickled_service_connects_anew(self):
        other = copy.deepcopy(self.service)
        self.assertTrue(other.embedded())
        self.assertNotEqual(other.session_id(), self.service.session_id())
        other.close()

    def test_clients_refuse_to_be_pickled(self):
        with self.assertRaisesRegex(TypeError, r"tinkex: \[invalid_argument\] .*save_state"):
            pickle.dumps(self.client())

    def test_process_may_exit_with_work_in_flight(self):
        program = (
            "import torch, sys\n"
            "torch.ops.load_library(sys.argv[1])\n"
            "ops = torch.ops.tinkex\n"
            "service = ops.connect()\n"
            "client = ops.create_lora_training_client(service, service.supported_models()[0], 4)\n"
            "tokens = ops.encode_text('x' * 60)\n"
            "inputs = {'target_tokens': [tokens], 'weights': [torch.ones(60)]}\n"
            "work = [ops.forward_backward_async(client, [tokens], inputs) for _ in range(20)]\n"
            "futures = [ops.forward_backward_future(client, [tokens], inputs) for _ in range(20)]\n"
            "print('leaving')\n")
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", program, LIBRARY],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, "leaving\n"), done.stderr)


if __name__ == "__main__":
    unittest.main()
