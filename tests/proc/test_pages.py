"""craftd(1) and the completions of bash and zsh, which scripts/dist/pages makes from
the help texts: held against the tables of the source, and used."""
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

from cluster import BINARY

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def source(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


def need(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed: scripts/setup test")


def pages(kind):
    return subprocess.run([os.path.join(ROOT, "scripts", "dist", "pages"), kind, BINARY],
                          capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def man():
    return pages("man")


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    path = tmp_path_factory.mktemp("bash") / "craftd"
    path.write_text(pages("bash"))
    return path


@pytest.fixture(scope="module")
def zsh(tmp_path_factory):
    path = tmp_path_factory.mktemp("zsh") / "_craftd"
    path.write_text(pages("zsh"))
    return path


# ---- the tables of the source ----

def daemon_flags():
    table = source("src/config.c").partition("flags[] = {")[2].partition("\n};")[0]
    return {"--" + name for name in re.findall(r'\{"([a-z-]+)', table)}


def command_flags():
    """Of each command its flags."""
    text = source("src/client/client.c")
    reach = re.search(r'#define REACH "(.*?)"', text)[1]
    table = text.partition("commands[] = {")[2].partition("\n};")[0]
    found = {}
    for row in re.findall(r"\{(.*?)\}", table, re.S):
        name = re.search(r'"([a-z-]+)"', row)[1]
        names = re.sub(r'"\s*"', "", row.replace("REACH", f'"{reach}"'))
        names = names.split(",", 4)[4].split(",")[0]
        found[name] = {"--" + flag for flag in names.replace('"', "").split()}
    assert len(found) > 10
    return found


def section(man, title):
    """The flags in the sections of the page with that title."""
    parts = re.findall(rf"(?ms)^\.S[sh] {re.escape(title)}$(.*?)(?=^\.S[sh] |\Z)", man)
    lines = re.findall(r"(?m)^\.It (.*)$", "".join(parts))
    return {"--" + flag.replace("\\-", "-")
            for line in lines for flag in re.findall(r"Fl Fl (\S+)", line)}


def test_the_page_has_every_flag_of_the_daemon(man):
    groups = re.findall(r"(?m)^\.Ss (?!craftd )(.*)$", man)
    described = set().union(*(section(man, group) for group in groups))
    assert described == daemon_flags() | {"--version", "--help"}


def test_the_page_has_every_command_and_its_flags(man):
    listed = re.findall(r"(?m)^\.It Cm (.*)$", man)
    assert {name.replace("\\-", "-") for name in listed} == (
        set(command_flags()) | {"recover"})
    for name, flags in command_flags().items():
        assert section(man, "craftd " + name.replace("-", "\\-")) == flags, name


def test_the_page_is_well_formed(man, tmp_path):
    need("mandoc")
    page = tmp_path / "craftd.1"
    page.write_text(man)
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)],
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = subprocess.run(["mandoc", "-T", "ascii", str(page)], capture_output=True,
                          text=True, check=True).stdout
    text = re.sub(".\b", "", text)
    # What stands in the help texts is in the page, whatever the line breaks.
    flat = " ".join(text.split()).replace("- ", "-")
    for name in command_flags():
        help_text = subprocess.run([BINARY, "help", name], capture_output=True, text=True)
        for word in re.findall(r"[a-z]{4,}", help_text.stdout):
            assert word in flat, (name, word)


# ---- bash ----

def complete(bash, *words, cwd=ROOT):
    """What bash offers for the last one of these words."""
    script = (f'. "{bash}"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _craftd; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", script, "bash", "craftd", *words], text=True,
                          capture_output=True, check=True, cwd=cwd)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_offers_the_flags_of_each_command(bash):
    for name, flags in command_flags().items():
        more = daemon_flags() | {"--version"} if name == "restore" else set()
        assert complete(bash, name, "--") == flags | more | {"--help"}, name
    assert complete(bash, "--") == daemon_flags() | {"--version", "--help"}
    assert complete(bash, "recover", "--") == (
        daemon_flags() | {"--version", "--help", "--without-log"})


def test_bash_offers_words(bash, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "backup.db").write_text("")
    commands = set(command_flags()) | {"recover"}
    assert complete(bash, "", cwd=tmp_path) == commands | {"data"}
    assert complete(bash, "re") == {"restore", "recover"}
    assert complete(bash, "help", "re") == {"restore", "recover"}
    assert complete(bash, "--io", "") == {"auto", "process", "sync", "uring"}
    assert complete(bash, "--io", "=") == {"auto", "process", "sync", "uring"}
    assert complete(bash, "--io", "=", "s") == {"sync"}
    assert complete(bash, "--log-level", "w") == {"warn"}
    assert complete(bash, "get", "--level", "l") == {"linearizable"}
    assert complete(bash, "--inmem", "--dir", "", cwd=tmp_path) == {"data", "backup.db"}
    assert complete(bash, "restore", "b", cwd=tmp_path) == {"backup.db"}
    assert complete(bash, "--id", "") == set()
    assert complete(bash, "get", "", cwd=tmp_path) == set()


# ---- zsh ----

class Terminal:
    """zsh in a terminal, with the completion and nothing else."""

    def __init__(self, zsh, cwd):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.environ.update(TERM="dumb", PS1="$ ", ZDOTDIR=str(cwd), COLUMNS="200")
            os.execvp("zsh", ["zsh", "-f", "-i"])
        self.type(f"fpath=({zsh.parent} $fpath); autoload -U compinit; "
                  f"compinit -u -d {cwd}/.dump; unset zle_bracketed_paste; "
                  "zstyle ':completion:*' list-prompt ''; echo is''ready\n")
        self.read("isready")

    def type(self, text):
        os.write(self.fd, text.encode())

    def read(self, until):
        text = ""
        end = time.monotonic() + 30
        while not re.search(until, text):
            ready, _, _ = select.select([self.fd], [], [], end - time.monotonic())
            assert ready, f"zsh does not show {until!r}: {text!r}"
            text += os.read(self.fd, 4096).decode(errors="replace")
        return text

    def close(self):
        os.close(self.fd)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def test_zsh_completes(zsh, tmp_path):
    need("zsh")
    subprocess.run(["zsh", "-n", str(zsh)], check=True)
    (tmp_path / "backup.db").write_text("")
    terminal = Terminal(zsh, tmp_path)
    try:
        # Each is completed to the one word that is possible; then the whole line is
        # printed instead of executed.
        for typed, shown in (("craftd bench-", "bench-disk"),
                             ("craftd get --me", "--meta"),
                             ("craftd get --level lin", "linearizable"),
                             ("craftd put --print", "--print-index"),
                             ("craftd help reco", "recover"),
                             ("craftd restore back", "backup.db"),
                             ("craftd --cluster-key-", "--cluster-key-optional"),
                             ("craftd --io ur", "uring"),
                             ("craftd recover --without", "--without-log")):
            terminal.type(typed + "\t" + "\x01print -r -- \n")
            before = re.escape(typed.rpartition(" ")[0])
            terminal.read(rf"\n{before} {shown} ?\r")
    finally:
        terminal.close()
