#!/usr/bin/env python3
"""A client over https: whom it trusts, and what it says where it does not.

The local server stands behind a proxy that ends TLS, with a certificate made for this run; or
behind one that speaks HTTP/2 besides, as what stands before the hosted service does.
"""

import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest

TRY_SERVER, LOCAL_SERVER, HTTP2_GATEWAY = (os.path.abspath(path) for path in sys.argv[1:4])


def make_certificate(folder, name, alternative):
    """Paths of a key and of a certificate that signs itself."""
    key, certificate = (os.path.join(folder, name + end) for end in (".key", ".pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=tinkex test", "-addext",
         "subjectAltName=" + alternative, "-keyout", key, "-out", certificate],
        check=True, capture_output=True)
    return key, certificate


def pump(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Forwarder:
    """Takes connections on a port of its own and passes their bytes on to `backend`."""

    scheme = "http"

    def __init__(self, backend):
        self.backend = backend
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "%s://127.0.0.1:%d" % (self.scheme, self.listener.getsockname()[1])
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.take, args=(plain,), daemon=True).start()

    def take(self, plain):
        client = self.begin(plain)
        if client is None:
            return
        with client, socket.create_connection(self.backend) as server:
            upload = threading.Thread(target=pump, args=(client, server), daemon=True)
            upload.start()
            pump(server, client)
            upload.join()

    def close(self):
        self.listener.close()


class TlsProxy(Forwarder):
    """Ends TLS."""

    scheme = "https"

    def __init__(self, key, certificate, backend):
        self.connections = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        super().__init__(backend)

    def begin(self, plain):
        try:
            client = self.context.wrap_socket(plain, server_side=True)
        except OSError:  # the client did not like the certificate
            return None
        self.connections += 1
        return client


class HttpProxy(Forwarder):
    """Opens tunnels, all of them to `backend`, be they for what they may."""

    def __init__(self, backend):
        self.tunnels = []
        super().__init__(backend)

    def begin(self, plain):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = plain.recv(1)
            if not byte:
                plain.close()
                return None
            head += byte
        self.tunnels.append(head.split()[1].decode())
        plain.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return plain


class TlsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
        cls.server = subprocess.Popen(
            [LOCAL_SERVER, "--port", "0"], cwd=cls.folder, stdout=subprocess.PIPE, text=True)
        port = None
        while port is None:
            line = cls.server.stdout.readline()
            assert line, "the local server ended"
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            port = found and int(found.group(1))
        cls.backend = ("127.0.0.1", port)

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        cls.server.wait()
        cls.server.stdout.close()

    def proxy(self, name, alternative):
        key, certificate = make_certificate(self.folder, name, alternative)
        proxy = TlsProxy(key, certificate, self.backend)
        self.addCleanup(proxy.close)
        return proxy, certificate

    def try_server_over_http_2(self, streams):
        """The connections, requests and refused requests that it took, at most so many of them by
        one connection."""
        key, certificate = make_certificate(self.folder, "two", "IP:127.0.0.1")
        gateway = subprocess.Popen(
            [HTTP2_GATEWAY, str(self.backend[1]), key, certificate, str(streams)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with gateway:
            port = gateway.stdout.readline().strip()
            self.assertTrue(port, "the gateway ended")
            url = "https://127.0.0.1:" + port
            code, said = self.try_server(url, certificate)
            counts, _ = gateway.communicate()
        self.assertEqual(code, 0, said)
        self.assertNotIn("FAIL", said)
        return [int(count) for count in counts.split()]

    def http_proxy(self, name, alternative):
        server, certificate = self.proxy(name, alternative)
        proxy = HttpProxy(("127.0.0.1", int(server.url.rpartition(":")[2])))
        self.addCleanup(proxy.close)
        return proxy, certificate

    def try_server(self, url, ca_file=None, **more):
        environment = dict(os.environ, TINKER_BASE_URL=url)
        for name in ("SSL_CERT_FILE", "TINKER_API_KEY", "no_proxy", "NO_PROXY"):
            environment.pop(name, None)
        environment.update(more)
        if ca_file is not None:
            environment["SSL_CERT_FILE"] = ca_file
        ended = subprocess.run([TRY_SERVER, "tinkex/nano"], env=environment, capture_output=True,
                               text=True, timeout=120, check=False)
        return ended.returncode, ended.stdout + ended.stderr

    def test_everything_works_behind_a_certificate_that_is_trusted(self):
        proxy, certificate = self.proxy("good", "IP:127.0.0.1")
        code, said = self.try_server(proxy.url, certificate)
        self.assertEqual(code, 0, said)
        self.assertNotIn("FAIL", said)
        self.assertGreater(proxy.connections, 0)
        self.assertLess(proxy.connections, 30, "connections are used again")

    def test_an_unknown_authority_is_refused_with_the_remedy(self):
        proxy, _ = self.proxy("stranger", "IP:127.0.0.1")
        code, said = self.try_server(proxy.url)
        self.assertEqual(code, 1, said)
        self.assertIn("certificate", said)
        self.assertIn("SSL_CERT_FILE", said)
        self.assertEqual(proxy.connections, 0, "nothing is sent")

    def test_a_certificate_for_another_host_is_refused(self):
        proxy, certificate = self.proxy("other", "DNS:example.org")
        code, said = self.try_server(proxy.url, certificate)
        self.assertEqual(code, 1, said)
        self.assertIn("certificate", said)

    def test_a_file_that_holds_no_certificate_is_not_blamed_on_the_server(self):
        proxy, _ = self.proxy("fine", "IP:127.0.0.1")
        path = os.path.join(self.folder, "no-certificate.pem")
        with open(path, "w", encoding="utf-8") as file:
            file.write("this is no certificate")
        code, said = self.try_server(proxy.url, path)
        self.assertEqual(code, 1, said)
        self.assertIn("the file of trusted certificates cannot be used", said)

    def test_everything_works_over_http_2(self):
        connections, requests, _ = self.try_server_over_http_2(streams=100000)
        self.assertGreater(requests, 30)
        self.assertLess(connections, 10, "requests share connections")

    def test_everything_works_where_connections_are_told_to_go_away(self):
        connections, requests, _ = self.try_server_over_http_2(streams=3)
        self.assertGreater(requests, 30)
        self.assertGreater(connections, 10)

    def test_everything_works_through_a_proxy(self):
        proxy, certificate = self.http_proxy("far", "DNS:tinker.test")
        code, said = self.try_server("https://tinker.test:4433", certificate,
                                     https_proxy=proxy.url, TINKER_API_KEY="tml-key")
        self.assertEqual(code, 0, said)
        self.assertNotIn("FAIL", said)
        self.assertEqual(set(proxy.tunnels), {"tinker.test:4433"})
        self.assertLess(len(proxy.tunnels), 30, "tunnels are used again")

    def test_an_unknown_authority_behind_a_proxy_is_refused_with_the_remedy(self):
        proxy, _ = self.http_proxy("unknown", "DNS:tinker.test")
        code, said = self.try_server("https://tinker.test:4433", https_proxy=proxy.url,
                                     TINKER_API_KEY="tml-key")
        self.assertEqual(code, 1, said)
        self.assertIn("SSL_CERT_FILE", said)
        self.assertEqual(len(proxy.tunnels), 1, "it is not tried again")

    def test_a_missing_file_is_named(self):
        code, said = self.try_server("https://127.0.0.1:1", "/no/such/file.pem")
        self.assertEqual(code, 1, said)
        self.assertIn("ca_file: '/no/such/file.pem'", said)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
