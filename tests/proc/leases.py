"""A proxy between clients and a node, in which a test breaks what has to do with
leases: renewals that hang, or that say the lease is gone."""
import contextlib
import http.client
import http.server
import socket
import threading
import time

from cluster import HOST, request_on


class Proxy:
    """addr for CRAFTD_ADDR. What renewals meet: `hang`, `gone`, or an answer that
    is `late` by so many seconds. `renewed` is when the last good one arrived."""

    def __init__(self, node):
        self.node = node
        self.hang = self.gone = False
        self.late = 0.0
        self.renewals, self.renewed = 0, 0.0
        self.lock = threading.Lock()
        self.closed = False
        self.open = set()  # Connections to the node.
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, data = proxy.answer(self.command, self.path, body)
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "connection",
                                            "transfer-encoding"):
                        self.send_header(name, value)
                if status not in (204, 304):
                    self.send_header("Content-Length", str(len(data)))
                self.send_header("Connection", "close")
                self.end_headers()
                if status not in (204, 304):
                    self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = do

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server((HOST, 0), Handler)
        self.addr = f"{HOST}:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        """Waits of clients that have ended end with it."""
        self.server.shutdown()
        self.server.server_close()
        with self.lock:
            self.closed = True
            for to_node in self.open:
                with contextlib.suppress(OSError):
                    to_node.shutdown(socket.SHUT_RDWR)

    def answer(self, method, target, body):
        if method == "PUT" and target.startswith("/lease/"):
            self.renewals += 1
            arrived = time.monotonic()
            while self.hang:
                time.sleep(0.05)
            if self.gone:
                return 404, {}, b'{"code":"not-found","message":"no such lease"}'
            self.renewed = arrived
            answer = self.pass_on(method, target, body)
            time.sleep(self.late)
            return answer
        return self.pass_on(method, target, body)

    def pass_on(self, method, target, body):
        connection = http.client.HTTPConnection(HOST, self.node.http_port, timeout=100)
        connection.connect()
        to_node = connection.sock
        with self.lock:
            assert not self.closed
            self.open.add(to_node)
        try:
            answer = request_on(connection, method, target, body or None)
        finally:
            with self.lock:
                self.open.remove(to_node)
            connection.close()
        return answer.status, dict(answer.headers), answer.body
