#!/usr/bin/env python3
"""local_server as a process: what signals do to it while it is stopping."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
import unittest

LOCAL_SERVER = os.path.abspath(sys.argv[1])
PATIENCE = 60


def until(happened, what):
    end = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > end:
            raise AssertionError("in vain: " + what)
        time.sleep(0.01)


def catches(process, number):
    with open("/proc/%d/status" % process.pid, encoding="ascii") as status:
        mask = int(re.search(r"^SigCgt:\s*(\w+)", status.read(), re.M).group(1), 16)
    return bool(mask >> (number - 1) & 1)


class StuckServer:
    """A server whose next line of output waits for somebody to read the lines before it."""

    def __init__(self):
        self.out, write = os.pipe()
        self.process = subprocess.Popen([LOCAL_SERVER, "--port", "0"], stdout=write,
                                        stderr=subprocess.DEVNULL)
        text = b""
        while b"Press Ctrl-C" not in text:
            text += os.read(self.out, 4096)
        fcntl.fcntl(write, fcntl.F_SETFL, os.O_NONBLOCK | os.O_WRONLY)
        for size in (4096, 1):
            try:
                while True:
                    os.write(write, b"x" * size)
            except BlockingIOError:
                pass
        # The flag is the pipe's, not the process's.
        fcntl.fcntl(write, fcntl.F_SETFL, os.O_WRONLY)
        os.close(write)

    def stop_by(self, number):
        """Returns when the first signal has been taken."""
        self.process.send_signal(number)
        until(lambda: not catches(self.process, signal.SIGINT), "the first signal")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.out)


class SignalTest(unittest.TestCase):
    def stuck_server(self):
        server = StuckServer()
        self.addCleanup(server.close)
        return server

    def test_a_second_ctrl_c_ends_the_process_at_once(self):
        for first in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(first=first):
                server = self.stuck_server()
                server.stop_by(first)
                server.process.send_signal(signal.SIGINT)
                self.assertEqual(server.process.wait(PATIENCE), -signal.SIGINT)

    def test_a_second_sigterm_changes_nothing(self):
        server = self.stuck_server()
        server.stop_by(signal.SIGTERM)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        self.assertIsNone(server.process.poll())
        while os.read(server.out, 1 << 16):
            pass
        self.assertEqual(server.process.wait(PATIENCE), 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
