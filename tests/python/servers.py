"""Servers in a Python thread of the test: whoever waits for one must let Python run."""

import http.server
import json
import socket
import threading

SESSION = {"session_id": "session-1", "type": "create_session"}


class AnsweringServer:
    """Gives every request the same answer. `with AnsweringServer(401) as url`."""

    def __init__(self, status=200, body=None, headers=()):
        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                text = json.dumps(SESSION if body is None else body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = answer

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # a client that has gone is no failure

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return "http://127.0.0.1:%d" % self.server.server_port

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()


class SilentServer:
    """Accepts connections and never answers."""

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        return "http://127.0.0.1:%d" % self.socket.getsockname()[1]

    def __exit__(self, *args):
        self.socket.close()
