"""A client of GET /watch, for tests: it reads server-sent events as WHATWG HTML
9.2.6 says, or lines of JSON."""
import collections
import http.client
import json
import time

from cluster import HOST

# `id` is that of the stream after the event; `last` whether the event has it.
Event = collections.namedtuple("Event", "type data id last")


class Watch:
    def __init__(self, node, query="", headers=None, timeout=20.0, port=None):
        self.connection = http.client.HTTPConnection(
            HOST, port or node.http_port, timeout=timeout)
        self.connection.request("GET", "/watch" + (f"?{query}" if query else ""),
                                headers=headers or {})
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.headers = self.response.headers
        self.ndjson = "ndjson" in (self.headers["Content-Type"] or "")
        self.last_id = None
        self.retry = None
        self.comments = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.connection.close()
        self.response.close()

    def problem(self):
        return json.loads(self.response.read())

    def line(self):
        """The next line without its end; None at the end of the stream."""
        raw = self.response.readline()
        if not raw:
            return None
        assert raw.endswith(b"\n"), raw
        return raw[:-1].decode()

    def block(self):
        """The next event, None for a block without one; EOFError at the end."""
        kind, data, new = "message", [], None
        while True:
            line = self.line()
            if line is None:
                raise EOFError
            if line == "":
                break
            name, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if name == "":
                self.comments += 1
            elif name == "event":
                kind = value
            elif name == "data":
                data.append(value)
            elif name == "id":
                new = int(value)
            elif name == "retry":
                self.retry = int(value)
            else:
                raise AssertionError(line)
        if new is not None:
            self.last_id = new
        if not data:
            return None
        return Event(kind, json.loads("\n".join(data)), self.last_id, new is not None)

    def json_line(self):
        line = self.line()
        if line is None:
            raise EOFError
        data = json.loads(line)
        kind, new = data.pop("event"), data.pop("id", None)
        if new is not None:
            self.last_id = new
        return None if kind == "progress" else \
            Event(kind, data, self.last_id, new is not None)

    def next(self):
        while True:
            event = self.json_line() if self.ndjson else self.block()
            if event:
                return event

    def take(self, count):
        return [self.next() for _ in range(count)]

    def until(self, done):
        """Events up to and including the first for which done(event) is true."""
        events = []
        while not events or not done(events[-1]):
            events.append(self.next())
        return events

    def until_id(self, index):
        """Events up to that id, progress included."""
        events = []
        while self.last_id is None or self.last_id < index:
            event = self.json_line() if self.ndjson else self.block()
            if event:
                events.append(event)
        return events

    def rest(self):
        """The events up to the end of the stream."""
        events = []
        try:
            while True:
                events.append(self.next())
        except EOFError:
            return events


def shown(events):
    """(type, key, index) of each."""
    return [(event.type, event.data["key"], event.data["index"])
            for event in events]


def is_sync(event):
    return event.type == "sync"


def wait_until(end):
    time.sleep(max(0.0, end - time.monotonic()))
