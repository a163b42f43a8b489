"""What becomes of clients and of the library in processes that fork, end, or load it twice."""

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest
import weakref

import torch

LIBRARY = os.environ["TINKEX_TORCH_LIBRARY"]
torch.ops.load_library(LIBRARY)
ops = torch.ops.tinkex

BEGIN = """
import ctypes, os, signal, sys, time, torch
signal.alarm(60)
torch.ops.load_library(sys.argv[1])
ops = torch.ops.tinkex
service = ops.connect()
model = ops.supported_models(service)[0]
client = ops.create_lora_training_client(service, model, 4)
sampler = ops.create_sampling_client(service, model)
tokens = ops.encode_text("abcd")
inputs = {"target_tokens": [tokens], "weights": [torch.ones(4)]}

def error_of(call):
    try:
        call()
        return "no error"
    except Exception as error:
        return type(error).__name__ + ": " + str(error)
"""


def run(program, *arguments):
    """Runs a program after BEGIN in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BEGIN + textwrap.dedent(program), LIBRARY, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class ProcessTest(unittest.TestCase):
    def check(self, done, *lines):
        self.assertEqual((done.returncode, done.stdout.splitlines()), (0, list(lines)), done.stderr)

    def test_calls_in_a_forked_child_are_refused_and_the_parent_goes_on(self):
        self.check(run("""
            pending = ops.forward_backward_async(client, [tokens] * 50,
                                                 {k: v * 50 for k, v in inputs.items()})
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                calls = [lambda: ops.forward_backward(client, [tokens], inputs),
                         lambda: ops.optim_step_async(client).wait(),
                         lambda: ops.optim_step_future(client).wait(),
                         lambda: ops.sample(sampler, tokens),
                         lambda: ops.sample_ragged(sampler, [tokens]),
                         lambda: sampler.compute_logprobs(tokens),
                         lambda: ops.save_state(client, "x"),
                         lambda: ops.create_sampling_client(service, model),
                         lambda: service.supported_models()]
                if pending.state() == "pending":
                    calls.append(pending.wait)
                errors = [error_of(call) for call in calls]
                bad = [e for e in errors
                       if not e.startswith("RuntimeError: tinkex: [closed] ") or "fork()" not in e]
                for error in bad:
                    print(error, file=sys.stderr)
                del client, sampler, service, pending
                os._exit(1 if bad else 0)
            print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            pending.wait()
            print("parent", ops.sample(sampler, tokens, 1, 2)[0][0].numel() > 0)
        """), "child 0", "parent True")

    def test_child_may_connect_anew(self):
        self.check(run("""
            child = os.fork()
            if child == 0:
                signal.alarm(30)
                own = ops.connect()
                ops.create_sampling_client(own, model)
                own.close()
                os._exit(0)
            print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """), "child 0")

    def test_a_service_made_in_a_forked_child_is_closed_there(self):
        self.check(run("""
            child = os.fork()
            if child == 0:
                signal.alarm(30)
                own = ops.connect()
                before = len(os.listdir("/proc/self/task"))
                del own
                for _ in range(1000):
                    if len(os.listdir("/proc/self/task")) < before:
                        os._exit(0)
                    time.sleep(0.01)
                os._exit(1)
            print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """), "child 0")

    def test_process_may_exit_while_daemon_threads_wait(self):
        for wait in ("pending.wait()", "pending.wait_for(60)", "ops.sample(sampler, tokens, 64, 1000)",
                     "sampler.sample(tokens, 64, 1000)", "loss.backward(retain_graph=True)",
                     "ops.connect()"):
            self.check(run("""
                import threading
                anchor = torch.zeros(1, dtype=torch.float64, requires_grad=True)
                many = [tokens] * 100
                loss = torch.cat(ops.logprobs_list(client, anchor, many, many, False)).sum()
                pending = ops.sample_async(sampler, tokens, 64, 1000, stop_tokens=[])

                def wait():
                    while True:
                        try:
                            %s
                        except RuntimeError:
                            pass

                for _ in range(4):
                    threading.Thread(target=wait, daemon=True).start()
                time.sleep(0.05)
                print("leaving")
            """ % wait), "leaving")

    def test_a_wait_that_outlasts_the_exit_of_python_does_not_come_back(self):
        self.check(run("""
            import socket, threading
            server = socket.create_server(("127.0.0.1", 0))
            url = "http://127.0.0.1:%d" % server.getsockname()[1]
            came_back = threading.Event()

            def wait():
                error_of(lambda: ops.connect(url, "tml-key"))
                came_back.set()

            threading.Thread(target=wait, daemon=True).start()
            request = server.accept()[0]
            request.recv(1)
            ops.stop_callbacks()  # what Python calls at its exit
            request.sendall(b"HTTP/1.1 401 Unauthorized\\r\\nContent-Length: 0\\r\\n\\r\\n")
            print(came_back.wait(2))
        """), "False")

    def test_the_exit_of_python_does_not_wait_for_a_wait_that_began_during_it(self):
        self.check(run("""
            import socket, threading
            servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]

            def begin_to_connect(server):
                url = "http://127.0.0.1:%d" % server.getsockname()[1]
                threading.Thread(target=lambda: error_of(lambda: ops.connect(url, "tml-key")),
                                 daemon=True).start()
                request = server.accept()[0]
                request.recv(1)
                return request

            def begin_another_wait_and_end_the_first():
                while "[closed]" not in error_of(service.supported_models):
                    pass  # until the exit has begun
                late.append(begin_to_connect(servers[1]))  # which nobody will answer
                first.sendall(b"HTTP/1.1 401 Unauthorized\\r\\nContent-Length: 0\\r\\n\\r\\n")

            late = []
            first = begin_to_connect(servers[0])
            threading.Thread(target=begin_another_wait_and_end_the_first, daemon=True).start()
            begin = time.monotonic()
            ops.stop_callbacks()  # what Python calls at its exit
            print(len(late), time.monotonic() - begin < 4)  # it has patience for 5 seconds
        """), "1 True")

    def test_a_service_that_is_unpickled_at_the_exit_does_not_hold_it_up(self):
        self.check(run("""
            import pickle, sys, threading
            # A thread that PyTorch itself has take the lock as Python exits ends the process. So the
            # other thread is not asked to give the lock, nor has PyTorch a reason to, as it has the
            # first time: the main thread goes on when ours has left it.
            sys.setswitchinterval(1000)
            pickle.loads(pickle.dumps(service))
            begun = threading.Event()

            def begin():
                begun.set()

            class Beginning:
                def __reduce__(self):
                    return begin, ()

            saved = pickle.dumps([Beginning(), service])
            ops.stop_callbacks()  # what Python calls at its exit
            threading.Thread(target=pickle.loads, args=(saved,), daemon=True).start()
            begun.wait()
            print("leaving")
        """), "leaving")

    def test_a_server_in_this_process_may_answer_while_a_service_is_unpickled(self):
        self.check(run("""
            import copy, pickle
            sys.path.insert(0, sys.argv[2])
            import servers
            os.environ["TINKER_API_KEY"] = "tml-key"
            with servers.AnsweringServer() as url:
                first = ops.connect(url, "", "")
                for other in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):
                    print(other.session_id())
        """, os.path.dirname(os.path.abspath(__file__))), "session-1", "session-1")

    def test_process_may_exit_with_work_of_every_kind_in_flight(self):
        self.check(run("""
            many = [tokens] * 20
            work = [ops.forward_backward_async(client, many, {k: v * 20 for k, v in inputs.items()})
                    for _ in range(8)]
            work += [ops.sample_future(sampler, tokens, 4, 9).then(lambda done: sum(range(10**5)))
                     for _ in range(200)]
            work.append(ops.sample_ragged_async(sampler, many, 2, 100))
            print("leaving")
        """), "leaving")

    def test_second_copy_of_the_library_is_told_and_changes_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "second_tinkex.so")
            shutil.copy(LIBRARY, copy)
            done = run("""
                torch.ops.load_library(sys.argv[2])
                print(ops.sample(sampler, tokens, 1, 2)[0][0].numel() > 0)
                print(ops.forward(client, [tokens], inputs)[1]["loss:sum"].isfinite().item())
            """, copy)
        self.check(done, "True", "True")
        self.assertIn("a second copy of the library was loaded", done.stderr)

    def test_library_stays_after_dlclose(self):
        self.check(run("""
            import _ctypes
            handle = ctypes.CDLL(sys.argv[1])._handle
            for _ in range(4):
                _ctypes.dlclose(handle)
            print(ops.sample(sampler, tokens, 1, 2)[0][0].numel() > 0)
            torch.ops.load_library(sys.argv[1])
            print(ops.decode_text(ops.encode_text("again")))
            del client, sampler
            service.close()
        """), "True", "again")

    @unittest.skipIf("LD_PRELOAD" in os.environ, "a sanitizer's memory does not fit below a limit")
    def test_a_thread_that_cannot_be_made_is_an_error_like_all_others(self):
        self.check(run("""
            import resource, threading
            go_on = threading.Event()
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), hard))
            try:
                while True:  # stacks of threads that have ended are used again
                    threading.Thread(target=go_on.wait, daemon=True).start()
            except RuntimeError:
                told = error_of(lambda: ops.connect_async().wait())
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
            go_on.set()
            print(told[:79])
            service.close()
        """), "RuntimeError: tinkex: [internal] connect cannot start the thread that waits for")

    def test_script_of_a_program_without_the_library_says_what_is_missing(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "module.pt")
            self.check(run("""
                module = torch.jit.ScriptModule()
                module.define("def forward(self, text: str):\\n"
                              "    return torch.ops.tinkex.encode_text(text)\\n")
                module.save(sys.argv[2])
            """, path))
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", "import sys, torch; torch.jit.load(sys.argv[1])",
                 path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("tinkex::encode_text", done.stderr)


class ReferencesTest(unittest.TestCase):
    def test_nothing_holds_a_callers_tensor_after_a_call_has_returned(self):
        service = ops.connect()
        model = ops.supported_models(service)[0]
        client = ops.create_lora_training_client(service, model, 4)
        sampler = ops.create_sampling_client(service, model)
        keep = []
        for form in ("_async", "_future"):
            tokens = torch.arange(64).repeat(2)[::2]  # strided: a copy is made
            weights = torch.ones(64)
            watched = [weakref.ref(tokens), weakref.ref(weights)]
            inputs = {"target_tokens": [tokens], "weights": [weights]}
            offsets = torch.tensor([0, 64])
            ragged = {"target_tokens": tokens, "weights": weights}
            keep += [getattr(ops, "forward_backward" + form)(client, [tokens], inputs),
                     getattr(ops, "forward_ragged" + form)(client, tokens, offsets, ragged),
                     getattr(ops, "sample" + form)(sampler, tokens, 1, 4),
                     getattr(ops, "sample_ragged" + form)(sampler, [tokens], 1, 4)]
            del tokens, weights, inputs, ragged
            self.assertEqual([ref() for ref in watched], [None, None])
        for pending in keep:
            pending.wait()
        service.close()


if __name__ == "__main__":
    unittest.main()
