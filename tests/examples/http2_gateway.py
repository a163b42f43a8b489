#!/usr/bin/python3
"""Speaks HTTP/2 over TLS, for a server of HTTP/1.1, as what stands before hosted Tinker does.

    http2_gateway.py BACKEND_PORT KEY CERTIFICATE STREAMS

Prints its port and serves until its input ends; then prints how many connections it had, how many
requests, and how many of them it refused. A connection is told to go away after STREAMS requests: those that come later are not taken.
The python3-h2 of Debian belongs to /usr/bin/python3.
"""

import http.client
import select
import socket
import ssl
import sys
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

PER_CONNECTION = {"connection", "transfer-encoding", "keep-alive", "host"}


class Counts:
    connections = 0
    requests = 0
    refused = 0


class Connection:
    def __init__(self, client, backend_port, most_streams):
        self.client = client
        self.backend_port = backend_port
        self.most_streams = most_streams
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.changed = threading.Condition()
        self.heads = {}
        self.bodies = {}
        self.open = set()
        self.taken = 0
        self.last_taken = 0

    def serve(self):
        with self.client:
            try:
                with self.changed:
                    self.h2.initiate_connection()
                    self.flush()
                while data := self.receive():
                    with self.changed:
                        for event in self.h2.receive_data(data):
                            self.handle(event)
                        self.flush()
                        self.changed.notify_all()
                        if self.has_gone_away() and not self.open:
                            return
            except (OSError, h2.exceptions.ProtocolError):
                pass
            finally:
                with self.changed:
                    self.open.clear()
                    self.changed.notify_all()

    def has_gone_away(self):
        return self.taken >= self.most_streams

    def handle(self, event):
        if isinstance(event, h2.events.RequestReceived):
            if self.has_gone_away():
                Counts.refused += 1
                self.h2.reset_stream(event.stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
                return
            self.taken += 1
            self.last_taken = event.stream_id
            self.open.add(event.stream_id)
            self.heads[event.stream_id] = event.headers
            self.bodies[event.stream_id] = bytearray()
            if self.has_gone_away():
                self.say_goodbye()
        elif isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.stream_id in self.bodies:
                self.bodies[event.stream_id] += event.data
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self.open:
            threading.Thread(target=self.answer, args=(event.stream_id,), daemon=True).start()
        elif isinstance(event, h2.events.StreamReset):
            self.open.discard(event.stream_id)

    def say_goodbye(self):
        """The frame itself, as h2 takes nothing more once it has sent one."""
        self.flush()
        self.transmit(
            (8).to_bytes(3, "big") + b"\x07\x00" + bytes(4)
            + self.last_taken.to_bytes(4, "big") + bytes(4))

    def answer(self, stream):
        Counts.requests += 1
        head = {name.decode() if isinstance(name, bytes) else name:
                value.decode() if isinstance(value, bytes) else value
                for name, value in self.heads.pop(stream)}
        backend = http.client.HTTPConnection("127.0.0.1", self.backend_port)
        try:
            backend.request(
                head[":method"], head[":path"], body=bytes(self.bodies.pop(stream)),
                headers={name: value for name, value in head.items() if name[0] != ":"})
            reply = backend.getresponse()
            body = reply.read()
            headers = [(":status", str(reply.status))] + [
                (name.lower(), value) for name, value in reply.getheaders()
                if name.lower() not in PER_CONNECTION]
        except OSError:
            body, headers = b"", [(":status", "502")]
        finally:
            backend.close()
        try:
            self.send(stream, headers, body)
        except (OSError, ValueError, h2.exceptions.ProtocolError):  # it has gone
            pass

    def send(self, stream, headers, body):
        with self.changed:
            if stream not in self.open:
                return
            self.h2.send_headers(stream, headers)
            at = 0
            while at < len(body):
                room = min(self.h2.local_flow_control_window(stream),
                           self.h2.max_outbound_frame_size, len(body) - at)
                if room <= 0:
                    self.changed.wait()
                    if stream not in self.open:
                        return
                    continue
                self.h2.send_data(stream, body[at:at + room])
                at += room
                self.flush()
            self.h2.end_stream(stream)
            self.flush()
            self.open.discard(stream)
            if self.has_gone_away() and not self.open:
                self.client.shutdown(socket.SHUT_RDWR)

    def flush(self):
        if data := self.h2.data_to_send():
            self.transmit(data)

    # OpenSSL lets no thread read while another one writes.
    def receive(self):
        while True:
            with self.changed:
                try:
                    return self.client.recv(1 << 16)
                except ssl.SSLWantReadError:
                    pass
            select.select([self.client], [], [])

    def transmit(self, data):
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.client.send(rest):]
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                select.select([], [self.client], [], 1)


def main():
    backend_port, key, certificate, most_streams = sys.argv[1:5]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def take(plain):
        try:
            client = context.wrap_socket(plain, server_side=True)
        except OSError:
            return
        Counts.connections += 1
        client.setblocking(False)
        Connection(client, int(backend_port), int(most_streams)).serve()

    def accept():
        while True:
            threading.Thread(target=take, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()
    print(Counts.connections, Counts.requests, Counts.refused, flush=True)


if __name__ == "__main__":
    main()
