"""The exceptions of tinkex_torch, and how they are found in the texts of others."""

import pickle
import unittest

import torch

import tinkex_torch
from tinkex_torch import parse_error


class ErrorTest(unittest.TestCase):
    TEXT = ("tinkex: [http_status] the server said (once) no (HTTP 429, category server, request "
            "r-1, 2, chunk 2 of 3, 1 accepted, retry after 1500 ms)")

    def test_every_detail_of_the_text_is_read(self):
        error = parse_error(self.TEXT)
        self.assertEqual(str(error), self.TEXT)
        self.assertEqual(vars(error), {
            "code": "http_status", "message": "the server said (once) no", "status": 429,
            "category": "server", "request_id": "r-1, 2", "retry_after": 1.5, "chunk": 1,
            "total_chunks": 3, "accepted_chunks": 1})

    def test_each_detail_may_be_absent(self):
        details = ["HTTP 429", "category user", "request r-1", "chunk 1 of 1, 0 accepted",
                   "retry after 5 ms"]
        for i, detail in enumerate(details):
            for some in ([detail], details[:i] + details[i + 1:], details[i:]):
                error = parse_error("tinkex: [timeout] m (%s)" % ", ".join(some))
                self.assertEqual(error.message, "m", some)
                self.assertEqual(error.status, 429 if details[0] in some else None)
                self.assertEqual(error.category, "user" if details[1] in some else "unknown")
                self.assertEqual(error.request_id, "r-1" if details[2] in some else None)
                self.assertEqual(error.total_chunks, int(details[3] in some))
                self.assertEqual(error.retry_after, 0.005 if details[4] in some else None)
        self.assertEqual(parse_error("tinkex: [io] no such file (a.txt)").message,
                         "no such file (a.txt)")

    def test_classes_are_those_that_programs_of_python_catch(self):
        for code, kinds in {"invalid_argument": (tinkex_torch.InvalidArgument, ValueError),
                            "timeout": (tinkex_torch.TimedOut, TimeoutError),
                            "deadline_exceeded": (tinkex_torch.TimedOut, TimeoutError),
                            "connection": (tinkex_torch.ConnectionFailed, ConnectionError),
                            "io": (tinkex_torch.FileFailed, OSError),
                            "cancelled": (tinkex_torch.Cancelled,),
                            "closed": (tinkex_torch.Closed,), "decode": ()}.items():
            error = parse_error("tinkex: [%s] m" % code)
            for kind in kinds + (tinkex_torch.Error, RuntimeError):
                self.assertIsInstance(error, kind)
            again = pickle.loads(pickle.dumps(error))
            self.assertEqual((type(again), str(again), vars(again)),
                             (type(error), str(error), vars(error)))

    def test_a_script_keeps_the_text_in_which_the_error_is_found(self):
        @torch.jit.script
        def fail(model: str) -> str:
            service = torch.ops.tinkex.connect_embedded()
            return torch.ops.tinkex.create_lora_training_client(service, model).model_id()

        with self.assertRaises(RuntimeError) as caught:
            fail("no-such-model")
        self.assertNotIsInstance(caught.exception, tinkex_torch.Error)
        self.assertEqual(parse_error(caught.exception).status, 404)
        with self.assertRaises(tinkex_torch.Error) as caught, tinkex_torch.translate_errors():
            fail("no-such-model")
        self.assertIn("fail", str(caught.exception.__cause__))  # where in the script it was

    def test_a_mismatch_of_types_is_ours_only_at_an_op_of_ours(self):
        @torch.jit.script
        def double(x: torch.Tensor) -> torch.Tensor:
            return x * 2

        with self.assertRaisesRegex(RuntimeError, "Expected a value of type") as caught:
            with tinkex_torch.translate_errors():
                double("text")
        self.assertNotIsInstance(caught.exception, tinkex_torch.Error)
        with self.assertRaises(tinkex_torch.WrongType) as caught, tinkex_torch.translate_errors():
            torch.ops.tinkex.encode_text(3)
        again = pickle.loads(pickle.dumps(caught.exception))
        self.assertEqual((type(again), str(again)), (tinkex_torch.WrongType, str(caught.exception)))

    def test_other_exceptions_are_none_of_ours(self):
        self.assertIsNone(parse_error(RuntimeError("something else")))
        with self.assertRaisesRegex(RuntimeError, "something else"):
            with tinkex_torch.translate_errors():
                raise RuntimeError("something else")
        try:
            try:
                raise RuntimeError("tinkex: [closed] m")
            except RuntimeError as cause:
                raise KeyError("outside") from cause
        except KeyError as error:
            self.assertIsInstance(parse_error(error), tinkex_torch.Closed)


if __name__ == "__main__":
    unittest.main()
