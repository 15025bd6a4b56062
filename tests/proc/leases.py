"""A proxy between clients and a node, in which a test breaks what has to do with
leases: renewals that hang, or that say the lease is gone."""
import http.server
import json
import re
import threading
import time
import urllib.parse

from cluster import HOST, request


class Leases:
    """FAKE: leases kept here, until nodes have them."""

    def __init__(self, node):
        self.node = node
        self.lock = threading.Lock()
        self.until, self.ttl, self.keys = {}, {}, {}
        self.count = 0
        threading.Thread(target=self._expire, daemon=True).start()

    def _expire(self):
        while True:
            time.sleep(0.02)
            with self.lock:
                over = [i for i, t in self.until.items() if t < time.monotonic()]
            for i in over:
                self.end(i)

    def end(self, name):
        with self.lock:
            if self.until.pop(name, None) is None:
                return 404
            keys = self.keys.pop(name, [])
        for key in keys:
            self.node.request("DELETE", "/key/" + key)
        return 204

    def answer(self, method, path, query):
        if path == "/lease":
            ttl = float(query["ttl"][0][:-2]) / 1000
            with self.lock:
                self.count += 1
                name = f"l-{self.count}"
                self.until[name] = time.monotonic() + ttl
                self.ttl[name] = ttl
            return 201, json.dumps({"id": name, "ttl": ttl}).encode()
        name = path.split("/")[2]
        if method == "DELETE":
            return self.end(name), b""
        with self.lock:
            if name not in self.until:
                return 404, b'{"code":"not-found","message":"no such lease"}'
            self.until[name] = time.monotonic() + self.ttl[name]
        return 204, b""

    def attach(self, name, key):
        with self.lock:
            if name not in self.until:
                return False
            self.keys.setdefault(name, []).append(key)
        return True


class Proxy:
    """addr for CRAFTD_ADDR. What renewals meet: `hang`, `gone`, or an answer that
    is `late` by so many seconds. `renewed` is when the last good one arrived."""

    def __init__(self, node, leases=None):
        self.node, self.leases = node, leases
        self.hang = self.gone = False
        self.late = 0.0
        self.renewals, self.renewed = 0, 0.0
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
        self.server.shutdown()
        self.server.server_close()

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
        path, _, text = target.partition("?")
        query = urllib.parse.parse_qs(text, keep_blank_values=True)
        if self.leases and path.startswith("/lease"):
            status, data = self.leases.answer(method, path, query)
            return status, {"Content-Type": "application/json"}, data
        if self.leases and "lease" in query:
            if not self.leases.attach(query["lease"][0],
                                      urllib.parse.unquote(path[5:])):
                return 404, {}, b'{"code":"not-found","message":"no such lease"}'
            target = re.sub("lease=[^&]*&?", "", target)
        answer = request(self.node.http_port, method, target, body or None, timeout=100)
        return answer.status, dict(answer.headers), answer.body
