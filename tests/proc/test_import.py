"""craftd export and import: out of a cluster into a file, and back; and from what
etcdctl, consul and redis-cli write."""
import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request

import pytest

from cluster import BINARY, HOST, Stopwatch, die_with_parent, free_port, rss_bytes, wait_for
from test_auth import ROOT_TOKEN, authorized, token, write_rules
from test_client import AWAY, DONE, FAILED, USAGE, Server, craftd, run
from test_export import MIB, Reader, fill, lines, listed

RAW = bytes(range(256))


def content(node):
    """Keys and values, without indexes."""
    return {item["key"]: item.get("value", item.get("value_base64"))
            for item in listed(node)}


def printed(out):
    return {name: int(value) for name, value in
            (line.split("\t") for line in out.decode().splitlines())}


def refused(*words, addr, data=b"", code=FAILED):
    done = craftd(*words, addr=addr, data=data)
    assert done.returncode == code, done
    return done.stderr.decode()


def put_odd_keys(node):
    pairs = {"plain": "1", 'quo"te\\': "\u00fc\u0001\n", "empty": "", "key-0000000x": "y"}
    assert node.put_many(pairs).status == 200
    assert node.request("PUT", "/key/raw", RAW).status in (201, 204)


def test_there_and_back(three, tmp_path):
    node = three[0]
    fill(node, 3000)
    put_odd_keys(node)
    before = content(node)
    file = tmp_path / "all.ndjson"
    assert run("export", str(file), addr=three[1].http) == b""
    assert lines(file.read_bytes())[-1]["keys"] == 3005
    assert os.listdir(tmp_path) == ["all.ndjson"]
    # The index of the end may be a later one: a new leader writes an entry.
    assert lines(run("export", "-", addr=node.http))[:-1] == lines(file.read_bytes())[:-1]
    assert node.request("DELETE", "/keys?all").status == 200
    assert node.put("other", "stays").status == 200
    dry = printed(run("import", "--dry-run", str(file), addr=node.http))
    assert content(node) == {"other": "stays"}
    for data in (b"", file.read_bytes()):
        path = "-" if data else str(file)
        assert printed(run("import", path, addr=three[2].http, data=data)) == dry
        assert content(node) == {**before, "other": "stays"}
    assert dry["keys"] == 3005
    # Members of later versions are ignored; so are blank lines.
    later = b'\n{"ttl":30.5,"key":"a","value":"1","lease":{"id":[1,{}]}}\r\n\n' \
            b'{"key_base64":"Yg==","value_base64":"AA=="}\n' \
            b'{"end":true,"index":9,"keys":2,"more":null}\n'
    assert printed(run("import", "-", addr=node.http, data=later)) == {"keys": 2, "bytes": 4}
    assert (node.get("a"), node.request("GET", "/key/b?raw").body) == ("1", b"\0")


@pytest.mark.seconds(240)
def test_many_keys_there_and_back(cluster, tmp_path):
    """All of a large store, to an empty one; twice is the same."""
    first = cluster.new().start().up()
    cluster.wait_leader()
    for at in range(0, 200_000, 5000):
        pairs = {f"k{i * 7919 % 1000003:07}": f"value {i}" for i in range(at, at + 5000)}
        assert first.put_many(pairs, timeout=60).status == 200
    file = tmp_path / "all.ndjson"
    run("export", str(file), addr=first.http, timeout=120)
    text = file.read_bytes()
    assert text.count(b"\n") == 200_001
    other = cluster.new().start().up()
    wait_for(lambda: other.status()["role"] == "leader", 15, "a leader")
    for _ in range(2):
        assert printed(run("import", str(file), addr=other.http, timeout=120))["keys"] == 200_000
    again = run("export", "-", addr=other.http, timeout=120)

    def pairs_of(export):
        return [(line["key"], line["value"]) for line in lines(export)[:-1]]
    assert pairs_of(again) == pairs_of(text)


def measured(*words):
    """Run a command; the seconds that it took, and its largest resident size, which is
    read while it runs, since that of getrusage(2) has the size of the parent in it."""
    began, largest = time.monotonic(), 0
    running = start(*words)
    while running.poll() is None:
        largest = max(largest, rss_bytes(running.pid))
        time.sleep(0.02)
    seconds = time.monotonic() - began
    assert running.communicate()[1] == b"" and running.returncode == 0
    return seconds, largest


@pytest.mark.seconds(240)
def test_a_million_keys_there_and_back(cluster, tmp_path):
    """In bounded memory of node and client, with a reader beside that takes nothing
    for a while and then all of the same state, and with writes meanwhile."""
    million, file, back = 1_000_000, tmp_path / "in.ndjson", tmp_path / "out.ndjson"
    with open(file, "w", encoding="ascii") as out:
        out.writelines(f'{{"key":"key-{n:07}","value":"{n}"}}\n' for n in range(million))
        out.write(f'{{"end":true,"index":1,"keys":{million}}}\n')
    node = cluster.new().start().up()
    cluster.wait_leader()
    import_s, import_rss = measured("import", "--addr", node.http, "--timeout", "200s", str(file))
    import_turn_s, size = node.stall_seconds(), rss_bytes(node.pid)
    with contextlib.closing(Reader(node)) as slow:
        export_s, export_rss = measured("export", "--addr", node.http, "--timeout", "200s",
                                        str(back))
        watch = Stopwatch(node)
        assert node.put("meanwhile", "1").status == 200
        put_s = watch.seconds()
        grown = rss_bytes(node.pid) - size
        first = slow.read()
    turn_s = node.stall_seconds()
    print(f"import {million / import_s:.0f} keys/s, client {import_rss >> 20} MiB; "
          f"export {million / export_s:.0f} keys/s, client {export_rss >> 20} MiB; "
          f"node {size >> 20} MiB, and {grown >> 10} KiB for exports; longest turn "
          f"{import_turn_s * 1000:.0f} ms at import, {turn_s * 1000:.0f} ms in all; "
          f"put {put_s * 1000:.0f} ms")
    assert back.read_bytes() == first
    exported = lines(first)
    assert exported.pop()["keys"] == million
    assert all(line["key"] == f"key-{n:07}" and line["value"] == str(n)
               for n, line in enumerate(exported))
    assert max(import_rss, export_rss) < 16 * MIB
    assert size < 100 * MIB and grown < 16 * MIB
    assert import_turn_s < 0.5 and turn_s < 0.5 and put_s < 1


def start(*words, **kw):
    return subprocess.Popen([BINARY, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE,
                            preexec_fn=die_with_parent, **kw)


def test_an_export_begins_again_when_the_state_is_lost(cluster, tmp_path):
    """kill -9 of the node: a file is begun again, stdout cannot be."""
    node = cluster.new().start().up()
    cluster.wait_leader()
    fill(node, 40_000, value=b"%d" + b"-" * 500)
    file = tmp_path / "all.ndjson"
    to_pipe = start("export", "--addr", node.http, "--timeout", "30s", "-")
    assert to_pipe.stdout.read(1000)  # The pipe is full now, and so is all behind it.
    to_file = start("export", "--addr", node.http, "--timeout", "30s", str(file))

    def begun():
        return [name for name in os.listdir(tmp_path) if ".part-" in name and
                os.path.getsize(tmp_path / name) > 100_000]
    wait_for(begun, 20, "the export has begun", pause=0.001)
    node.kill()
    time.sleep(0.5)
    node.start().up()
    cluster.wait_leader()
    assert node.put("key-0000000", "new").status == 200
    _, why = to_file.communicate(timeout=60)
    assert to_file.returncode == DONE, why
    got = lines(file.read_bytes())
    assert got[:-1] == listed(node) and got[-1]["keys"] == 40_000
    rest, why = to_pipe.communicate(timeout=60)
    assert to_pipe.returncode == FAILED and b"does not have the state" in why
    assert rest.endswith(b"\n")  # Whole lines.


class Cutting:
    """A proxy that cuts off every answer after so many bytes."""

    def __init__(self, node, size):
        self.node, self.size, self.count = node, size, 0
        self.queries = []
        self.server = Server(*[self.answer] * 200)
        self.addr = self.server.addr

    def answer(self, request, connection):
        target = request.split(b" ")[1].decode()
        self.queries.append(target)
        whole = self.node.request("GET", target, timeout=60)
        head = (f"HTTP/1.1 {whole.status} X\r\nContent-Type: {whole.headers['Content-Type']}\r\n"
                f"Craftd-Index: {whole.headers['Craftd-Index']}\r\nCraftd-Keys: 1\r\n"
                f"Content-Length: {len(whole.body)}\r\n\r\n")
        connection.sendall(head.encode() + whole.body[:self.size])


def test_an_export_goes_on_where_it_was_cut_off(cluster, tmp_path):
    """In the middle of a line, and between two; writes go on meanwhile."""
    node = cluster.new().start().up()
    cluster.wait_leader()
    fill(node, 500)
    put_odd_keys(node)
    items = listed(node)
    proxy = Cutting(node, 7001)
    done = start("export", "--addr", proxy.addr, "--timeout", "30s", "-")
    wait_for(lambda: len(proxy.queries) > 1, 10, "the first cut")
    i = 0
    while done.poll() is None and i < 1000:
        assert node.put("key-0000400", f"changed {i}").status == 200
        i += 1
        time.sleep(0.01)
    out, why = done.communicate(timeout=30)
    assert (done.returncode, why) == (DONE, b"")
    assert lines(out)[:-1] == items
    assert len(proxy.queries) > 5 and "after=" not in proxy.queries[0]
    assert all("index=" in query and "after=" in query for query in proxy.queries[1:])


def test_an_interrupted_import_is_run_again(cluster, tmp_path):
    node = cluster.new().start().up()
    cluster.wait_leader()
    file = tmp_path / "all.ndjson"
    count = 20_000
    with open(file, "w") as out:
        for i in range(count):
            out.write(json.dumps({"key": f"k{i:06}", "value": f"v{i}"}) + "\n")
        out.write(json.dumps({"end": True, "index": 1, "keys": count}) + "\n")
    cut = start("import", "--addr", node.http, str(file))
    wait_for(lambda: node.request("GET", "/keys?count").json()["count"] > 2000, 20, "a part",
             pause=0.001)
    cut.send_signal(signal.SIGKILL)
    cut.wait()
    part = node.request("GET", "/keys?count").json()["count"]
    assert part < count
    # The node is killed in the middle of the second run, and comes back.
    again = start("import", "--addr", node.http, "--timeout", "30s", str(file))
    wait_for(lambda: node.get("k000600") == "v600", 20, "a part")
    node.kill()
    node.start().up()
    out, why = again.communicate(timeout=60)
    assert (again.returncode, why) == (DONE, b"")
    assert printed(out)["keys"] == count
    assert content(node) == {f"k{i:06}": f"v{i}" for i in range(count)}


def test_what_is_not_whole_is_a_failure(three):
    addr = three[0].http
    good = b'{"key":"a","value":"1"}\n{"key":"b","value":"2"}\n'
    assert "last line is missing" in refused("import", "-", addr=addr, data=good)
    assert content(three[0]) == {"a": "1", "b": "2"}
    assert "2 of its 3 keys" in refused("import", "--dry-run", "-", addr=addr,
                                        data=good + b'{"end":true,"keys":3}\n')
    assert "ends too early" in refused("import", "-", addr=addr, data=good + b'{"key":"c","va')
    assert "behind its last" in refused("import", "-", addr=addr,
                                        data=b'{"end":true,"keys":0}\n' + good)
    for line, said in ((b'{"key":"a"}', "no value"), (b'{"value":"a"}', "no key"),
                       (b'{"key":1,"value":"a"}', "no string"), (b"[]", "no object"),
                       (b'{"key":"a","value_base64":"?"}', "base64"),
                       (b'{"key":"a","key_base64":"YQ==","value":""}', "two keys"),
                       (b'{"key":"","value":""}', "1 to 1024"),
                       (b'{"key":"a\\u0000","value":""}', "without NUL"),
                       (b'{"key_base64":"/w==","value":""}', "UTF-8"),
                       (b'{"key":"' + b"k" * 1025 + b'","value":""}', "1 to 1024"),
                       (b'{"key":"a","value":"' + b"v" * 1048577 + b'"}', "--max-value")):
        why = refused("import", "-", addr=addr, data=line + b"\n")
        assert said in why, (line[:40], why)
    assert content(three[0]) == {"a": "1", "b": "2"}
    assert "--from" in refused("import", "--from", "x", "-", addr=addr, code=USAGE)
    assert "No such file" in refused("import", "/none", addr=addr)
    why = refused("import", "--timeout", "300ms", "-", addr=f"{HOST}:1", data=good, code=AWAY)
    assert "0 keys were imported" in why


def test_values_of_all_sizes(three):
    """Batches are bounded by bytes as well; nothing is over --max-body."""
    pairs = {f"big-{i}": ("\x01" if i % 3 else "z") * size
             for i, size in enumerate((1048576, 1, 700_000, 0, 1048576, 300_000, 349_525))}
    data = "".join(json.dumps({"key": k, "value": v}) + "\n" for k, v in pairs.items())
    data += json.dumps({"end": True, "keys": len(pairs)})
    text = {k: v for k, v in pairs.items()}
    done = craftd("import", "-", addr=three[0].http, data=data.encode())
    assert done.returncode == DONE, done
    assert content(three[0]) == text


def test_permissions(cluster, tmp_path):
    rules = write_rules(tmp_path / "auth.json", ROOT_TOKEN, token("w", "write"),
                        token("r", "read:key-"))
    node = authorized(cluster.new(args=["--auth", rules])).start().up()
    cluster.wait_leader()
    for name in ("w", "r"):
        (tmp_path / name).write_text(name)
        os.chmod(tmp_path / name, 0o600)

    def by(name, *words, data=b""):
        return subprocess.run([BINARY, *words], input=data, capture_output=True, check=False,
                              env={"CRAFTD_TOKEN_FILE": str(tmp_path / name),
                                   "CRAFTD_ADDR": node.http})
    data = b'{"key":"key-1","value":"1"}\n{"end":true,"keys":1}'
    assert by("w", "import", "-", data=data).returncode == DONE
    assert by("r", "import", "-", data=data).returncode == FAILED
    assert by("r", "export", "-").returncode == FAILED
    assert by("w", "export", "-").returncode == FAILED


# ---- from other stores ----

@contextlib.contextmanager
def running(argv, ready):
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             preexec_fn=die_with_parent)
    try:
        wait_for(ready, 30, argv[0])
        yield child
    finally:
        child.kill()
        child.wait()


def shell(command, **environment):
    path = os.path.dirname(BINARY) + ":" + os.environ["PATH"]
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True,
                          check=False, timeout=60,
                          env={**os.environ, **environment, "PATH": path})


def command_of_help(start_of):
    """The example of craftd help import that begins with it, on one line."""
    text = run("help", "import").decode()
    at = text.index("    " + start_of, text.index("EXAMPLES"))
    return " ".join(text[at:text.index("-\n", at) + 1].split())


def etcd_pairs():
    pairs = {f"dir/key {i}": b"value %d" % i for i in range(300)}
    pairs.update({"\u00fcml\u00e4ut\"\\": RAW, "empty": b"", "large": b"L" * 1_000_000})
    return pairs


@pytest.mark.skipif(not shutil.which("etcd"), reason="no etcd")
def test_from_etcd(three, tmp_path):
    client, peer = free_port(), free_port()
    url = f"http://{HOST}:{client}"

    def post(path, body):
        with urllib.request.urlopen(f"{url}/v3/kv/{path}", json.dumps(body).encode(), 20) as got:
            return got.read()

    def text(value):
        return base64.b64encode(value).decode()
    with running(["etcd", "--data-dir", str(tmp_path / "etcd"), "--listen-client-urls", url,
                  "--advertise-client-urls", url, "--listen-peer-urls",
                  f"http://{HOST}:{peer}"],
                 lambda: post("range", {"key": "AA=="})):
        nothing = {"key": "AA==", "range_end": "AA=="}
        none = post("range", nothing)
        assert printed(run("import", "--from", "etcd", "-", addr=three[0].http, data=none)) == {
            "keys": 0, "bytes": 0}
        pairs = etcd_pairs()
        for key, value in pairs.items():
            post("put", {"key": text(key.encode()), "value": text(value)})
        gateway = post("range", nothing)
        line = command_of_help("etcdctl get")
        assert line == "etcdctl get --prefix '' -w json | craftd import --from etcd -"
        done = None
        if shutil.which("etcdctl"):
            done = shell(line, ETCDCTL_API="3", ETCDCTL_ENDPOINTS=url, CRAFTD_ADDR=three[1].http)
            assert done.returncode == DONE, done
    expected = {"keys": len(pairs), "bytes": sum(len(k.encode()) + len(v)
                                                 for k, v in pairs.items())}
    if done:
        assert printed(done.stdout) == expected
        check_pairs(three[0], pairs)
        assert three[0].request("DELETE", "/keys?all").status == 200
    out = run("import", "--from", "etcd", "-", addr=three[0].http, data=gateway)
    assert printed(out) == expected
    check_pairs(three[0], pairs)


def check_pairs(node, pairs):
    got = {}
    for item in listed(node):
        got[item["key"]] = (base64.b64decode(item["value_base64"]) if "value_base64" in item
                            else item["value"].encode())
    assert got == pairs


@pytest.mark.skipif(not shutil.which("redis-server"), reason="no redis")
def test_from_redis(three, tmp_path):
    port = free_port()

    def cli(*words, data=b""):
        return subprocess.run(["redis-cli", "-p", str(port), *words], input=data, check=False,
                              capture_output=True).stdout
    with running(["redis-server", "--port", str(port), "--bind", HOST, "--save", "",
                  "--dir", str(tmp_path)], lambda: cli("PING") == b"PONG\n"):
        line = command_of_help("redis-cli").replace("redis-cli", f"redis-cli -p {port}", 1)
        done = shell(line, CRAFTD_ADDR=three[0].http)
        assert (done.returncode, printed(done.stdout)["keys"]) == (DONE, 0), done
        pairs = etcd_pairs()
        for key, value in pairs.items():
            cli("-x", "SET", key, data=value)
        cli("RPUSH", "a list", "1", "2")
        cli("SET", "gone soon", "x", "EX", "1000")
        done = shell(line, CRAFTD_ADDR=three[0].http)
    assert done.returncode == DONE, done
    check_pairs(three[0], {**pairs, "gone soon": b"x"})


def test_from_consul(three):
    """The form of consul kv export, which Debian does not have."""
    pairs = {"app/a": b"1", "app/\u00fc": RAW, "empty": b""}
    dump = json.dumps([{"key": k, "flags": 0, "value": base64.b64encode(v).decode()}
                       for k, v in pairs.items()], indent="\t").encode()
    assert printed(run("import", "--from", "consul", "-", addr=three[0].http,
                       data=dump))["keys"] == 3
    check_pairs(three[0], pairs)
    assert printed(run("import", "--from", "consul", "-", addr=three[0].http,
                       data=b"[]\n"))["keys"] == 0
