#!/usr/bin/env python3
"""A client over https: whom it trusts, and what it says where it does not.

The local server stands behind a proxy that ends TLS, with a certificate made for this run.
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

TRY_SERVER, LOCAL_SERVER = (os.path.abspath(path) for path in sys.argv[1:3])


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


class TlsProxy:
    """Takes TLS connections on a port of its own and passes their bytes on to `backend`."""

    def __init__(self, key, certificate, backend):
        self.backend = backend
        self.connections = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "https://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.take, args=(plain,), daemon=True).start()

    def take(self, plain):
        try:
            client = self.context.wrap_socket(plain, server_side=True)
        except OSError:  # the client did not like the certificate
            return
        self.connections += 1
        with client, socket.create_connection(self.backend) as server:
            upload = threading.Thread(target=pump, args=(client, server), daemon=True)
            upload.start()
            pump(server, client)
            upload.join()

    def close(self):
        self.listener.close()


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

    def try_server(self, url, ca_file=None):
        environment = dict(os.environ, TINKER_BASE_URL=url)
        environment.pop("SSL_CERT_FILE", None)
        environment.pop("TINKER_API_KEY", None)
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

    def test_a_missing_file_is_named(self):
        code, said = self.try_server("https://127.0.0.1:1", "/no/such/file.pem")
        self.assertEqual(code, 1, said)
        self.assertIn("ca_file: '/no/such/file.pem'", said)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
