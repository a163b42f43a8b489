"""tinkex_torch as it is installed: training, sampling, errors and types, on the embedded backend."""

import copy
import inspect
import os
import pathlib
import pickle
import re
import subprocess
import sys
import tempfile
import unittest
from typing import List
from unittest import mock

import numpy
import torch

import servers
import tinkex_torch
from tinkex_torch import _arguments

MODEL = "tinkex/tiny"
FOLDER = pathlib.Path("tests/torch_ext/local/testdata/models/llama")


def batch(*texts):
    """Tokens and loss inputs of some texts."""
    tokens = [tinkex_torch.encode_text(text) for text in texts]
    inputs = {
        "target_tokens": [t[1:] for t in tokens],
        "weights": [torch.ones(t.numel() - 1) for t in tokens],
    }
    return [t[:-1] for t in tokens], inputs


class ClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = tinkex_torch.connect()
        cls.addClassCleanup(cls.service.close)

    def client(self, seed=1):
        return self.service.create_lora_training_client(MODEL, 4, seed=seed)

    def loss(self, client, tokens, inputs):
        return client.forward(tokens, inputs).metrics["loss:sum"].item()

    def test_training_lowers_the_loss_and_changes_what_is_sampled(self):
        client = self.service.create_lora_training_client(MODEL, 8, seed=1)
        tokens, inputs = batch("to be or not to be")
        begin = self.loss(client, tokens, inputs)
        for _ in range(50):
            under_way = client.forward_backward_async(tokens, inputs)
            client.optim_step(4e-3, weight_decay=1e-4, grad_clip_norm=1e3)
        result = under_way.wait()
        self.assertLess(result.metrics["loss:sum"].item(), begin / 20)
        self.assertEqual(result.outputs["logprobs"][0].shape, tokens[0].shape)
        with client.save_weights_and_get_sampling_client() as sampler:
            said = sampler.sample(tokens[0][:4], max_tokens=14, temperature=0)
            self.assertEqual(tinkex_torch.decode_text(said.tokens[0]), "e or not to be")

    def test_lists_and_arrays_give_the_loss_of_tensors(self):
        client = self.client()
        tokens, inputs = batch("any kind of array", "will do")
        expected = self.loss(client, tokens, inputs)
        frozen = [t.numpy().copy() for t in inputs["target_tokens"]]
        for array in frozen:
            array.flags.writeable = False
        reversed_twice = [t.flip(0).numpy()[::-1] for t in tokens]
        for some_tokens, some_inputs in (
                ([t.tolist() for t in tokens], {k: [t.tolist() for t in v]
                                                for k, v in inputs.items()}),
                ([t.numpy() for t in tokens], {k: [t.numpy() for t in v]
                                               for k, v in inputs.items()}),
                (reversed_twice, dict(inputs, target_tokens=frozen)),
                (tuple(t.to(torch.int32) for t in tokens), dict(
                    inputs, weights=[[1] * t.numel() for t in tokens]))):
            self.assertEqual(self.loss(client, some_tokens, some_inputs), expected)

    def test_lists_of_numbers_keep_their_digits_whatever_the_default_dtype_is(self):
        numbers, to_tensor = [0.1, 1 / 3, 1 + 2**-20], _arguments.to_tensor
        expected = torch.tensor(numbers, dtype=torch.float32)
        self.addCleanup(torch.set_default_dtype, torch.get_default_dtype())
        for default in (torch.bfloat16, torch.float16, torch.float64, torch.float32):
            torch.set_default_dtype(default)
            for some in (numbers, tuple(numbers), [[number] for number in numbers]):
                made = to_tensor(some, "weights")
                self.assertEqual(made.dtype, torch.float32, default)
                self.assertTrue(torch.equal(made.flatten(), expected), default)
            for whole in ([1, 2], [[1], [2]], []):
                self.assertEqual(to_tensor(whole, "tokens").dtype, torch.int64, default)
            self.assertEqual(to_tensor(numpy.array(numbers), "weights").dtype, torch.float64)

    def test_lists_of_tensors_that_want_a_gradient_are_refused_unless_gradients_are_off(self):
        client = self.client()
        tokens, inputs = batch("hello")
        expected = self.loss(client, tokens, inputs)
        weights = torch.ones(tokens[0].numel(), requires_grad=True)
        rows = list(weights)
        for lost in (rows, tuple(rows), [1.0, *weights[1:]], [[each] for each in rows],
                     list(weights.unsqueeze(1)), [torch.nn.Parameter(each) for each in torch.ones(4)]):
            with self.assertRaisesRegex(
                    tinkex_torch.InvalidArgument,
                    r"^tinkex: \[invalid_argument\] loss_fn_inputs\['weights'\]\[0\] requires a "
                    r"gradient, but none flows through the inputs of this call; pass .detach\(\)"):
                client.forward(tokens, dict(inputs, weights=[lost]))
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                self.assertEqual(
                    self.loss(client, tokens, dict(inputs, weights=[rows])), expected)
        detached = list(weights.detach())
        self.assertEqual(self.loss(client, tokens, dict(inputs, weights=[detached])), expected)

    def test_rows_of_a_padded_batch_are_its_datums(self):
        client = self.client()
        tokens, inputs = batch("the same", "as long!")
        stacked = {name: torch.stack(values) for name, values in inputs.items()}
        self.assertEqual(self.loss(client, torch.stack(tokens), stacked),
                         self.loss(client, tokens, inputs))
        self.assertEqual(self.loss(client, torch.stack(tokens).numpy(), stacked),
                         self.loss(client, tokens, inputs))

    def test_bad_input_names_the_argument_and_is_a_value_error(self):
        client = self.client()
        tokens, inputs = batch("hello")
        for told, call in {
                r"tokens\[0\] has dtype float32": lambda: client.forward([[0.5]], {}),
                r"tokens\[1\] is a str": lambda: client.forward([tokens[0], "ab"], inputs),
                r"tokens is a tensor of 1 dim": lambda: client.forward(tokens[0], inputs),
                r"tokens is a int": lambda: client.forward(3, inputs),
                r"loss_fn_inputs is a list": lambda: client.forward(tokens, [tokens]),
                r"loss_fn_inputs\['weights'\]\[0\] is a object": lambda: client.forward(
                    tokens, dict(inputs, weights=[object()])),
                r"loss_fn_inputs\['weights'\] has 0": lambda: client.forward(
                    tokens, dict(inputs, weights=[])),
                r"tokens\[0\] is a masked array": lambda: client.forward(
                    [numpy.ma.array([1, 2], mask=[0, 1])], {}),
                r"learning_rate is 'a'": lambda: client.optim_step("a"),
                r"loss_fn_config\['x'\] is 'y'": lambda: client.forward(
                    tokens, inputs, "ppo", {"x": "y"}),
                r"name has half of a surrogate pair at index 1": lambda: client.save_state("a\ud800"),
                r"seed is 9223372036854775808, expected a whole number from -2\^63 to":
                    lambda: self.client(seed=1 << 63),
                r"rank is a number of 40000 bits, expected a whole": lambda:
                    self.service.create_lora_training_client(MODEL, -1 << 39999),
                r"seed: expected at least 0, got -1": lambda: self.client(seed=-1),
                r"timeout is NaN, expected seconds, or None": lambda: client.forward_async(
                    tokens, inputs).wait(float("nan")),
                r"give exactly one": self.service.create_sampling_client}.items():
            with self.assertRaisesRegex(ValueError, r"^tinkex: \[invalid_argument\] .*" + told) as e:
                call()
            self.assertIsInstance(e.exception, tinkex_torch.InvalidArgument)

    def test_models_that_are_unloaded_make_room(self):
        for _ in range(70):  # the embedded backend has room for 64
            client = self.client()
            client.unload()
        with self.assertRaisesRegex(tinkex_torch.Error, "unload"):
            client.optim_step()

    def test_a_model_is_unloaded_without_waiting(self):
        client = self.client()
        self.assertIsNone(client.unload_async().wait(60))
        with self.assertRaisesRegex(tinkex_torch.Error, "unload"):
            client.optim_step()

    def test_a_checkpoint_is_deleted_and_what_was_made_from_it_stays(self):
        path = self.client().save_state("short-lived")
        again = self.service.create_training_client_from_state(path)
        self.assertIsNone(self.service.delete_checkpoint(path))
        again.save_state("still-there")
        with self.assertRaises(tinkex_torch.Error) as caught:
            self.service.delete_checkpoint_async(path).wait(60)
        self.assertEqual(caught.exception.status, 404)
        with self.assertRaisesRegex(tinkex_torch.InvalidArgument, "tinker://"):
            self.service.delete_checkpoint("nowhere")

    def test_token_ids_of_unsigned_files_are_taken(self):
        tokens, inputs = batch("to be or not to be")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "tokens.bin")
            tokens[0].numpy().astype(numpy.uint16).tofile(path)
            mapped = numpy.memmap(path, dtype=numpy.uint16, mode="r")
            client = self.client()
            self.assertEqual(self.loss(client, [mapped], inputs), self.loss(client, tokens, inputs))
            self.assertEqual(self.loss(client, [torch.from_numpy(mapped.astype(numpy.uint64))],
                                       inputs), self.loss(client, tokens, inputs))

    def test_a_tensor_without_data_is_named(self):
        tokens, inputs = batch("one", "two")
        with self.assertRaisesRegex(tinkex_torch.InvalidArgument,
                                    r"tokens\[1\], which holds no data.*give a tensor with data"):
            self.client().forward([tokens[0], tokens[1].to("meta")], inputs)

    def test_what_is_no_name_of_a_model_to_sample_from_is_named_and_not_shown(self):
        create = self.service.create_sampling_client
        for name, call in (("base_model", create), ("model_path", lambda path: create(model_path=path))):
            with self.assertRaisesRegex(TypeError, " %s is a bytes, expected a str$" % name):
                call(b"tml-secret")
            with self.assertRaisesRegex(tinkex_torch.InvalidArgument,
                                        "%s has half of a surrogate pair at index 10" % name) as caught:
                call("tml-secret\ud800")
            self.assertNotIn("secret", str(caught.exception))

    def test_errors_of_the_server_have_code_status_category_and_request(self):
        with self.assertRaises(tinkex_torch.Error) as caught:
            self.client().load_state("tinker://nowhere/weights/none")
        error = caught.exception
        self.assertEqual((error.code, error.category), ("request_failed", "user"))
        self.assertRegex(error.request_id, r"^req-\w+")
        self.assertRegex(error.message, r"no checkpoint tinker://nowhere/weights/none.*[^)]$")
        with self.assertRaises(tinkex_torch.Error) as caught:
            self.service.create_lora_training_client("no-such-model")
        self.assertEqual((caught.exception.code, caught.exception.status), ("http_status", 404))

    def test_a_closed_service_says_so(self):
        with tinkex_torch.connect() as service:
            client = service.create_lora_training_client(MODEL, 4)
            self.assertFalse(service.closed)
        self.assertTrue(service.closed)
        with self.assertRaises(tinkex_torch.Closed):
            client.optim_step()
        service.close()

    def test_states_are_saved_loaded_and_gone_on_from(self):
        client = self.client(5)
        tokens, inputs = batch("remember me")
        client.forward_backward(tokens, inputs)
        client.optim_step(1e-2)
        expected = self.loss(client, tokens, inputs)
        path = client.save_state("checkpoint")
        with self.assertRaises(tinkex_torch.Error):
            client.save_state("checkpoint")
        self.assertEqual(client.save_state("checkpoint", overwrite=True), path)
        other = self.service.create_training_client_from_state(path)
        self.assertEqual(self.loss(other, tokens, inputs), expected)
        third = self.client(6)
        third.load_state(path, with_optimizer=False)
        self.assertEqual(self.loss(third, tokens, inputs), expected)
        sampler = self.service.create_sampling_client(
            model_path=client.save_weights_for_sampler("weights"))
        logprobs = sampler.compute_logprobs(tinkex_torch.encode_text("remember me"))
        self.assertAlmostEqual(-logprobs[1:].sum().item(), expected, places=3)

    def test_sampling_obeys_its_settings(self):
        sampler = self.service.create_sampling_client(MODEL)
        prompt = tinkex_torch.encode_text("abc")
        first = sampler.sample(prompt, 3, max_tokens=5, seed=7, stop=[])
        again = sampler.sample(prompt.tolist(), 3, max_tokens=5, seed=7, stop=[])
        self.assertEqual([t.tolist() for t in first.tokens], [t.tolist() for t in again.tokens])
        self.assertEqual(first.stop_reasons, ["length"] * 3)
        stopped = sampler.sample(prompt, max_tokens=5, seed=7, stop_tokens=[first.tokens[0][1]])
        self.assertEqual(stopped.stop_reasons, ["stop"])
        for told, stops in ((r"stop_tokens\[1\] is -1, ", {"stop_tokens": [1, -1]}),
                            (r"stop\[1\]: .* not empty", {"stop": ["a", ""], "stop_tokens": [1]})):
            with self.assertRaisesRegex(tinkex_torch.InvalidArgument, told):
                sampler.sample(prompt, **stops)
        sampler.close()
        with self.assertRaises(tinkex_torch.Closed):
            sampler.sample(prompt)

    def test_sequences_one_after_another_give_the_results_of_lists(self):
        client, again = self.client(), self.client()
        tokens, inputs = batch("any length", "will do")
        ragged = {name: tinkex_torch.from_lists(values) for name, values in inputs.items()}
        offsets = tinkex_torch.offsets_of(tokens)
        arguments = (torch.cat(tokens).tolist(), offsets.numpy(),
                     {name: each.values for name, each in ragged.items()})
        for expected, actual in ((client.forward, again.forward_ragged),
                                 (client.forward_backward, again.forward_backward_ragged)):
            expected, actual = expected(tokens, inputs), actual(*arguments)
            self.assertEqual(actual.metrics["loss:sum"], expected.metrics["loss:sum"])
            lists = tinkex_torch.to_lists(actual.values["logprobs"], actual.offsets["logprobs"])
            torch.testing.assert_close(lists, expected.outputs["logprobs"])
        client.optim_step(1e-2)
        again.optim_step(1e-2)
        self.assertEqual(self.loss(again, tokens, inputs), self.loss(client, tokens, inputs))
        padded = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
        torch.testing.assert_close(tinkex_torch.unpad(padded, [t.numel() for t in tokens]), tokens)
        for told, call in {
                r"offsets\[2\] is 3": lambda: tinkex_torch.to_lists(torch.zeros(3), [0, 9, 3]),
                r"loss_fn_inputs is a list": lambda: client.forward_ragged([1], [0, 1], [2]),
                r"loss_fn_inputs\['weights'\] is a object": lambda: client.forward_ragged(
                    [1], [0, 1], {"weights": object()})}.items():
            with self.assertRaisesRegex(tinkex_torch.InvalidArgument, told):
                call()

    def test_several_prompts_are_sampled_and_scored_with_what_else_is_likely(self):
        sampler = self.service.create_sampling_client(MODEL)
        prompts = [tinkex_torch.encode_text(text) for text in ("abc", "to be")]
        samples = sampler.sample_ragged(prompts, 2, max_tokens=3, seed=7, stop=[],
                                        prompt_logprobs=True, topk_prompt_logprobs=4)
        self.assertEqual(samples.offsets.tolist(), [0, 3, 6, 9, 12])
        self.assertEqual(samples.stopped.tolist(), [False] * 4)
        one = sampler.sample(prompts[1], 2, max_tokens=3, seed=7, stop=[])
        self.assertEqual(samples.tokens[6:].tolist(), torch.cat(one.tokens).tolist())
        scores = sampler.compute_logprobs_ragged(prompts)
        self.assertEqual(scores.offsets.tolist(), samples.prompt_offsets.tolist())
        for p, prompt in enumerate(tinkex_torch.to_lists(scores.values, scores.offsets)):
            torch.testing.assert_close(prompt, sampler.compute_logprobs(prompts[p]), equal_nan=True)
        torch.testing.assert_close(samples.prompt_logprobs, scores.values, equal_nan=True)
        self.assertEqual((samples.topk_tokens.shape, samples.topk_logprobs.shape), ((8, 4), (8, 4)))
        self.assertGreaterEqual(samples.topk_logprobs[1, 0].item(), scores.values[1].item() - 1e-4)
        plain = sampler.sample_ragged(prompts, max_tokens=1)
        self.assertIsNone(plain.prompt_logprobs or plain.topk_tokens)
        with self.assertRaisesRegex(tinkex_torch.InvalidArgument, r"prompts\[1\] is a str"):
            sampler.compute_logprobs_ragged([prompts[0], "abc"])

    def test_a_service_and_a_client_say_what_the_server_tells_of_models(self):
        self.assertEqual(self.service.context_lengths()[MODEL], 1024)
        client = self.client()
        self.assertEqual(client.info, (client.model_id, MODEL, "tinkex/bytes", "llama", 4))

    def test_text_that_ends_within_a_character_is_shown(self):
        tokens = tinkex_torch.encode_text("naïve")
        self.assertEqual(tinkex_torch.decode_text(tokens), "naïve")
        self.assertEqual(tinkex_torch.decode_text(tokens[:3]), "na\ufffd")
        with self.assertRaises(UnicodeDecodeError):
            tinkex_torch.decode_text(tokens[:3].tolist(), errors="strict")

    def test_objects_of_the_package_fit_the_ops_and_scripts(self):
        @torch.jit.script
        def step(client: torch.classes.tinkex.TrainingClient, tokens: list[torch.Tensor],
                 inputs: dict[str, list[torch.Tensor]]) -> torch.Tensor:
            return torch.ops.tinkex.forward(client, tokens, inputs)[1]["loss:sum"]

        client = self.client()
        tokens, inputs = batch("scripted")
        self.assertEqual(step(client.native, tokens, inputs).item(),
                         self.loss(client, tokens, inputs))

    def test_a_copied_or_unpickled_service_is_a_new_connection(self):
        with mock.patch.dict(os.environ, TINKER_BASE_URL="http://127.0.0.1:1"):
            for other in (copy.deepcopy(self.service), pickle.loads(pickle.dumps(self.service))):
                self.assertTrue(other.embedded)
                self.assertNotEqual(other.session_id, self.service.session_id)
                other.close()

    def test_clients_and_handles_refuse_to_be_pickled(self):
        client = self.client()
        for each in (client, client.optim_step_async()):
            with self.assertRaisesRegex(tinkex_torch.InvalidArgument, "cannot be pickled"):
                pickle.dumps(each)


class BaseModelsTest(unittest.TestCase):
    def test_a_model_from_a_folder_is_trained_in_this_process(self):
        with tinkex_torch.connect_embedded(base_models=[FOLDER]) as service:
            self.assertIn("llama", service.supported_models())
            client = service.create_lora_training_client("llama", 4, seed=1)
            tokens, inputs = [[5, 6, 7, 8]], {"target_tokens": [[6, 7, 8, 9]]}
            losses = []
            for _ in range(5):
                losses.append(client.forward_backward(tokens, inputs).metrics["loss:sum"].item())
                client.optim_step(1e-2)
            self.assertLess(losses[-1], losses[0])
            with copy.deepcopy(service) as again:
                self.assertIn("llama", again.supported_models())

    def test_scripts_and_connect_take_models_from_files_too(self):
        @torch.jit.script
        def models(folder: str) -> List[str]:
            service = torch.ops.tinkex.connect("", "", "", [folder])
            return torch.ops.tinkex.supported_models(service)

        self.assertIn("llama", models(str(FOLDER)))
        with tinkex_torch.connect(base_models=[str(FOLDER)]) as service:
            self.assertIn("llama", service.supported_models())

    def test_a_model_that_is_not_there_is_named(self):
        with self.assertRaisesRegex(tinkex_torch.Error, "nowhere"):
            tinkex_torch.connect(base_models=["/nowhere"])


class SecretTest(unittest.TestCase):
    def test_neither_pickle_nor_repr_nor_error_holds_the_key(self):
        with servers.AnsweringServer() as url:
            service = tinkex_torch.connect(url, "tml-secret-key")
            pickled = pickle.dumps(service)
            self.assertNotIn(b"secret", pickled)
            self.assertNotIn("secret", repr(service))
            self.assertIn(url, repr(service))
            with mock.patch.dict(os.environ, TINKER_API_KEY="tml-another-key"):
                again = pickle.loads(pickled)
            self.assertIn(url, again.description)
            again.close()
            service.close()
        with self.assertRaises(TypeError) as caught:
            tinkex_torch.connect(url, b"tml-secret-key")
        self.assertNotIn("secret", str(caught.exception))

    def test_a_refusal_has_the_servers_status(self):
        with servers.AnsweringServer(401, {"detail": "no"}) as url:
            with self.assertRaises(tinkex_torch.Error) as caught:
                tinkex_torch.connect(url, "tml-secret-key")
        self.assertEqual(caught.exception.status, 401)
        self.assertNotIn("secret", str(caught.exception))


class InterfaceTest(unittest.TestCase):
    def public_functions(self):
        for name in tinkex_torch.__all__:
            each = getattr(tinkex_torch, name)
            if inspect.isfunction(each):
                yield name, each
            elif inspect.isclass(each) and each.__module__ == "tinkex_torch":
                yield name, each
                for member, value in vars(each).items():
                    value = value.fget if isinstance(value, property) else value
                    if inspect.isfunction(value) and not member.startswith("_"):
                        yield name + "." + member, value

    def test_everything_public_is_explained_and_typed(self):
        seen = 0
        for name, each in self.public_functions():
            self.assertTrue(inspect.getdoc(each), name)
            if inspect.isclass(each):
                continue
            seen += 1
            signature = inspect.signature(each)
            self.assertNotEqual(signature.return_annotation, inspect.Signature.empty, name)
            for parameter in list(signature.parameters.values()):
                if parameter.name != "self":
                    self.assertNotEqual(parameter.annotation, inspect.Parameter.empty, name)
        self.assertGreater(seen, 30)

    def test_every_call_has_both_forms_with_the_same_arguments(self):
        found = dict(self.public_functions())
        pairs = [name for name in found if name + "_async" in found]
        self.assertEqual(len(pairs), 15)
        for name in pairs:
            blocking, handle = (inspect.signature(found[n]) for n in (name, name + "_async"))
            self.assertEqual(blocking.parameters, handle.parameters, name)
            self.assertEqual(handle.return_annotation, "Handle[%s]" % re.sub(
                "^Tensor$", "torch.Tensor", blocking.return_annotation), name)

    def test_defaults_are_those_of_the_ops(self):
        found = dict(self.public_functions())
        for name, function in found.items():
            op = getattr(torch.ops.tinkex, name.split(".")[-1], None)
            if "." not in name or op is None:
                continue
            schema = {argument.name: argument for argument in op.default._schema.arguments}
            for parameter in inspect.signature(function).parameters.values():
                argument = schema.get(parameter.name)
                if parameter.name == "loss_fn" and name.startswith("RemoteModel."):
                    continue  # the first argument there, so that it has no default
                if argument is not None and argument.has_default_value():
                    self.assertEqual(parameter.default, argument.default_value, name)


class ExampleTest(unittest.TestCase):
    def test_the_example_teaches_every_answer_and_shows_progress(self):
        done = subprocess.run([sys.executable, "-B", "-W", "ignore", "examples/python/sft.py"],
                              stdout=subprocess.PIPE, text=True, check=True)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[-1], "8 of 8 answers right", done.stdout)
        losses = [float(x) for x in re.findall(r"^step \d+/60  loss ([\d.]+)", done.stdout, re.M)]
        self.assertEqual(len(losses), 10)
        self.assertLess(losses[-1], losses[0] / 20)

    def test_the_programs_in_the_guide_run_from_top_to_bottom(self):
        with open("docs/python.md", encoding="utf-8") as file:
            blocks = re.findall(r"```python\n(.*?)```", file.read(), re.S)
        self.assertGreater(len(blocks), 7)
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "guide.py")  # a file: scripts are made from their source
            with open(program, "w", encoding="utf-8") as file:
                file.write("path = %r\n" % os.path.join(folder, "module.pt") + "\n".join(blocks))
                file.write("\nassert losses[-1] < losses[0]\n")
            done = subprocess.run([sys.executable, "-B", "-W", "ignore", program],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("\ne or not to be ['length']\n", done.stdout)
        self.assertIn("\na step() or load_state() came between forward() and backward()", done.stdout)
        self.assertIn("\nrequest_failed None user req-", done.stdout)
        self.assertRegex(done.stdout, r"\nrequest_failed\nuser\n[\d.]+ [\d.]+\n[\d.]+ [\d.]+\n$")

    def test_no_example_trains_for_no_step(self):
        for name in ("sft", "dpo"):
            done = subprocess.run([sys.executable, "-B", "examples/python/%s.py" % name, "--steps", "0"],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertRegex(done.stderr, "argument --steps: 0 is less than 1")

    def test_the_example_says_what_is_wrong_in_one_line(self):
        for option, value, told in (("--base-model", "nope", r"\[http_status\] .*'nope'"),
                                    ("--learning-rate", "nan", r"\[invalid_argument\] learning_rate")):
            done = subprocess.run([sys.executable, "-B", "-W", "ignore", "examples/python/sft.py",
                                   option, value], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"\Atinkex: %s.*\n\Z" % told)


if __name__ == "__main__":
    unittest.main()
