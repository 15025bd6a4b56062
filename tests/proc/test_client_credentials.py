"""Credentials that the commands send, and the commands that create users and
tokens."""
import base64
import hashlib
import json
import os
import pty
import subprocess

import pytest

from cluster import BINARY, wait_for
from test_client import DONE, FAILED, USAGE, Server

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 1\r\n\r\nv"
REFUSED = (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 26\r\n\r\n"
           b'{"message":"who are you?"}')


def craftd(*words, data=b"", **variables):
    environment = {k: v for k, v in os.environ.items()
                   if not k.startswith("CRAFTD_") and k not in ("NETRC", "HOME")}
    environment.update(variables)
    return subprocess.run([BINARY, *words], input=data, capture_output=True,
                          timeout=60, check=False, env=environment)


def sent_by(*words, answer=OK, **variables):
    """The Authorization headers of one `craftd get k`."""
    server = Server(answer)
    try:
        done = craftd("get", "k", *words, CRAFTD_ADDR=server.addr, **variables)
        assert done.returncode == DONE, done
        return [line.split(b": ", 1)[1] for line in server.requests[0].split(b"\r\n")
                if line.lower().startswith(b"authorization:")]
    finally:
        server.close()


def basic(pair):
    return [b"Basic " + base64.b64encode(pair.encode())]


def test_nothing_is_sent_without_credentials():
    assert sent_by() == []
    assert sent_by(CRAFTD_USER="", CRAFTD_TOKEN_FILE="") == []


def test_user_of_the_environment():
    assert sent_by(CRAFTD_USER="bob:a:b c") == basic("bob:a:b c")
    done = craftd("get", "k", CRAFTD_USER="bob", CRAFTD_ADDR="127.0.0.1:1")
    assert done.returncode == FAILED
    assert b"CRAFTD_USER is not user:password" in done.stderr


def test_token_of_a_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("abc-123\n")
    assert sent_by(CRAFTD_TOKEN_FILE=str(path)) == [b"Bearer abc-123"]
    # It has precedence.
    assert sent_by(CRAFTD_TOKEN_FILE=str(path), CRAFTD_USER="bob:x") == [b"Bearer abc-123"]


@pytest.mark.parametrize("text", ["", "\n", "a b", "a\r\nX-Evil: 1", "a\nb", "a\0b"])
def test_a_file_that_is_not_one_token(tmp_path, text):
    """A line break in it would be a header of its own."""
    path = tmp_path / "token"
    path.write_text(text)
    server = Server(OK)
    done = craftd("get", "k", CRAFTD_ADDR=server.addr, CRAFTD_TOKEN_FILE=str(path))
    server.close()
    assert done.returncode == FAILED
    assert b"is not one token" in done.stderr
    assert server.requests == []


def test_a_token_file_may_be_a_pipe(tmp_path):
    """It is read once, however many servers there are to ask."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    server = Server(OK)
    writer = subprocess.Popen(["sh", "-c", 'echo abc >"$0"', str(path)])
    try:
        done = craftd("get", "k", CRAFTD_TOKEN_FILE=str(path),
                      CRAFTD_ADDR=f"127.0.0.1:1,127.0.0.1:2,{server.addr}")
        assert done.returncode == DONE, done
        assert b"Authorization: Bearer abc\r\n" in server.requests[0]
    finally:
        server.close()
        writer.kill()
        writer.wait()


def test_a_password_that_nobody_can_type():
    for text in (b"secret\r\n", b"a\tb\n", b"a\x7f\n", b"\x1b[A\n"):
        done = craftd("passwd", "bob", "all", data=text)
        assert (done.returncode, done.stdout) == (FAILED, b"")
        assert b"control character" in done.stderr
    assert craftd("passwd", "bob", "all", data="pässword x\n".encode()).returncode == DONE


def test_a_token_file_that_is_not_there(tmp_path):
    done = craftd("get", "k", CRAFTD_ADDR="127.0.0.1:1",
                  CRAFTD_TOKEN_FILE=str(tmp_path / "nothing"))
    assert done.returncode == FAILED
    assert b"nothing: No such file" in done.stderr


NETRC = """# of all machines
machine kv.example.com login eve password no
machine 127.0.0.1
  login bob
  password s3:cret # no comment
machine 127.0.0.1 login second password no
"""


def test_netrc(tmp_path):
    path = tmp_path / ".netrc"
    path.write_text(NETRC.replace(" # no comment", ""))
    assert sent_by("--netrc", HOME=str(tmp_path)) == basic("bob:s3:cret")
    assert sent_by(HOME=str(tmp_path)) == []
    # It has precedence.
    assert sent_by("--netrc", HOME=str(tmp_path), CRAFTD_USER="a:b") == basic("bob:s3:cret")
    # NETRC names another file.
    other = tmp_path / "other"
    other.write_text("default login amy password x")
    assert sent_by("--netrc", HOME=str(tmp_path), NETRC=str(other)) == basic("amy:x")
    # Another machine's password is not sent, and a macro is no password.
    other.write_text("macdef machine\n127.0.0.1 login evil\n\nmachine 127.0.0.2 login a password b")
    assert sent_by("--netrc", NETRC=str(other)) == []
    done = craftd("get", "--netrc", "k", CRAFTD_ADDR="127.0.0.1:1", HOME=str(tmp_path / "no"))
    assert done.returncode == FAILED
    assert b".netrc: No such file" in done.stderr


@pytest.mark.parametrize("named", [True, False])
def test_a_redirect_gets_them_if_it_leads_to_a_server_of_ours(tmp_path, named):
    """Another one may be anybody. In ~/.netrc it is the host that counts."""
    token = tmp_path / "token"
    token.write_text("t")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login bob password x")
    for words, variables, sent in (
            ([], {"CRAFTD_USER": "bob:x"}, named),
            ([], {"CRAFTD_TOKEN_FILE": str(token)}, named),
            (["--netrc"], {"NETRC": str(netrc)}, True)):
        leader = Server(OK)
        follower = Server(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://%s/key/k?raw\r\n"
                          b"Content-Length: 0\r\n\r\n" % leader.addr.encode())
        addr = follower.addr + (",http://%s/" % leader.addr if named else "")
        done = craftd("get", "k", *words, CRAFTD_ADDR=addr, **variables)
        follower.close()
        leader.close()
        assert done.returncode == DONE
        assert b"Authorization: B" in follower.requests[0]
        assert (b"Authorization: B" in leader.requests[0]) == sent


def test_a_refusal_is_explained():
    server = Server(REFUSED)
    done = craftd("get", "k", CRAFTD_ADDR=server.addr, CRAFTD_USER="bob:x")
    server.close()
    assert done.returncode == FAILED
    assert done.stderr == b"craftd: get: %s: who are you?\n" % server.addr.encode()


# ---- passwd, token ----


def check_password(line, password, rounds):
    entry = json.loads(line)
    scheme, count, salt, digest = entry["password"].split(":")
    assert (scheme, count) == ("pbkdf2-sha256", str(rounds))
    assert len(bytes.fromhex(salt)) == 16
    assert hashlib.pbkdf2_hmac("sha256", password.encode(), bytes.fromhex(salt),
                               rounds).hex() == digest
    return entry


def test_passwd_in_a_pipe():
    done = craftd("passwd", "bob", "read:a,b/", "write", data=b"s3cret\nmore\n")
    assert (done.returncode, done.stderr) == (DONE, b"")
    entry = check_password(done.stdout, "s3cret", 100000)
    assert entry["username"] == "bob"
    assert entry["perms"] == ["read:a,b/", "write"]
    assert done.stdout.count(b"\n") == 1
    # Without a line break at its end; another salt.
    again = craftd("passwd", "--rounds", "1000", "bob", data="p\u00e4ss w\u00f6rd".encode())
    assert check_password(again.stdout, "p\u00e4ss w\u00f6rd", 1000)["perms"] == []
    assert again.stdout.split(b":")[4] != done.stdout.split(b":")[4]


@pytest.mark.parametrize("words, data, code, why", [
    (["bob"], b"", FAILED, b"no password on stdin"),
    (["bob"], b"\n", FAILED, b"must not be empty"),
    (["bob"], b"x" * 1000, FAILED, b"too long"),
    (["a:b"], b"x", USAGE, b"no colon"),
    (["*"], b"x", USAGE, b"have no \"password\""),
    (["bob", "raed"], b"x", USAGE, b"did you mean read?"),
    (["bob", "status:a"], b"x", USAGE, b"only read and write take a prefix"),
    (["--rounds", "999", "bob"], b"x", USAGE, b"--rounds is 1000 to 10000000"),
    ([b"b\xff"], b"x", USAGE, b"not UTF-8"),
    ([], b"x", USAGE, b"too few words"),
])
def test_passwd_refuses(words, data, code, why):
    done = craftd("passwd", *words, data=data)
    assert done.returncode == code
    assert why in done.stderr
    assert done.stdout == b""


class Terminal:
    """craftd passwd at a terminal; what it shows is kept."""

    def __init__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(BINARY, [BINARY, "passwd", "--rounds", "1000", "bob"])
        self.shown = b""

    def read_until(self, text):
        def seen():
            self.shown += os.read(self.fd, 1000)
            return text in self.shown
        wait_for(seen, 20)

    def type(self, text):
        os.write(self.fd, text)

    def end(self):
        try:
            while True:
                piece = os.read(self.fd, 1000)
                if not piece:
                    break
                self.shown += piece
        except OSError:
            pass  # The other end has closed.
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_passwd_at_a_terminal():
    terminal = Terminal()
    terminal.read_until(b"Password: ")
    terminal.type(b"s3cret\n")
    terminal.read_until(b"Once more: ")
    terminal.type(b"s3cret\n")
    assert terminal.end() == DONE
    assert b"s3cret" not in terminal.shown
    check_password(terminal.shown[terminal.shown.index(b"{"):], "s3cret", 1000)


def test_passwd_typed_differently():
    terminal = Terminal()
    terminal.read_until(b"Password: ")
    terminal.type(b"s3cret\n")
    terminal.read_until(b"Once more: ")
    terminal.type(b"secret\n")
    assert terminal.end() == FAILED
    assert b"two different passwords" in terminal.shown


def test_token():
    done = craftd("token", "join", "status")
    assert (done.returncode, done.stderr) == (DONE, b"")
    line, token = done.stdout.decode().splitlines()
    assert json.loads(line) == {"token": "sha256:" + hashlib.sha256(token.encode()).hexdigest(),
                                "perms": ["join", "status"]}
    assert len(token) == 64
    assert craftd("token").stdout.decode().splitlines()[1] != token
    refused = craftd("token", "jion")
    assert refused.returncode == USAGE
    assert b"did you mean join?" in refused.stderr
    assert refused.stdout == b""
