"""README.md and the manual: pages of a bounded length whose links lead somewhere, as
manual pages without a warning, and whose command lines all work as printed."""
import glob
import os
import re
import shutil
import subprocess

import pytest

from cluster import BINARY, ROOT
from test_quickstart import Walk

PAGES = sorted(glob.glob(os.path.join(ROOT, "scripts", "manual", "*.md")))
README = os.path.join(ROOT, "README.md")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def anchors(text):
    return {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-")
            for head in re.findall(r"(?m)^#+ (.*)$", text)}


@pytest.mark.parametrize("path", [README, *PAGES], ids=os.path.basename)
def test_a_page_is_short_and_its_links_lead_somewhere(path):
    text = read(path)
    assert text.count("\n") <= 200
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        other = os.path.join(os.path.dirname(path), name) if name else path
        assert os.path.exists(other), target
        assert not anchor or anchor in anchors(read(other)), target


def test_the_front_page_lists_every_page():
    for page in PAGES:
        assert f"](scripts/manual/{os.path.basename(page)})" in read(README)


@pytest.mark.skipif(not shutil.which("mandoc"), reason="no mandoc")
@pytest.mark.parametrize("path", PAGES, ids=os.path.basename)
def test_as_a_manual_page(path, tmp_path):
    done = subprocess.run([os.path.join(ROOT, "scripts", "dist", "manual"), path],
                          capture_output=True, text=True, check=True)
    page = tmp_path / "page.7"
    page.write_text(done.stdout)
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)],
                          capture_output=True, text=True)
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")
    shown = subprocess.run(["mandoc", "-T", "utf8", str(page)], capture_output=True,
                           text=True, check=True).stdout
    shown = " ".join(re.sub(".\b", "", shown).split()).replace("- ", "-").lower()
    # Nothing of the page is lost, but for the heads of tables of two columns.
    text = re.sub(r"(?m)^\|.*\n(?=\|---)", "", read(path))
    for word in re.findall(r"[A-Za-z]{4,}", re.sub(r"\]\([^)]*\)", "]", text)):
        assert word.lower() in shown, word


# ---- the command lines ----

# Lines that other tests run: as printed, or with files and ports of their own.
ELSEWHERE = {
    "shell.md": "test_quickstart.py: test_own_page_for_the_shell",
    "ttl.md": "test_ttl.py: test_the_lines_of_the_page_run_at_every_node",
    "locks.md": "test_locks.py: test_the_recipe_works_at_every_node",
    "watch.md": "test_watch.py: test_the_lines_of_the_page_work_at_every_node",
}

PORTS = " -haddr :11000 -raddr :12000"  # The defaults, written out so that they are mapped.


def commands(path):
    """The command lines in the blocks of a page; a line goes on behind an open quote."""
    found, open_line = [], ""
    for line in read(path).splitlines():
        if not line.startswith("    "):
            open_line = ""
            continue
        line = line[4:]
        if open_line:
            open_line += "\n" + line
        elif re.match(r"\(umask|[A-Z_]+=\S+ craftd |(build/)?craftd |curl |scripts/cluster", line):
            open_line = line
        if open_line and open_line.count("'") % 2 == 0:
            found.append(open_line.split("  #")[0].rstrip())
            open_line = ""
    return found


class Page(Walk):
    """Runs lines in a directory, where `craftd` is the binary that is tested."""

    def __init__(self, cluster, folder, nodes):
        super().__init__(cluster, folder)
        self.folder = folder
        os.makedirs(folder / "bin", exist_ok=True)
        os.symlink(BINARY, folder / "bin" / "craftd")
        self.nodes = self.nodes[:nodes]
        self.environment = {"PATH": f"{folder}/bin:/usr/local/bin:/usr/bin:/bin",
                            "HOME": self.home}

    def run(self, line, stdin=""):
        done = subprocess.run(["sh", "-c", self.map(line)], input=stdin, timeout=30,
                              cwd=self.folder, capture_output=True,
                              env=self.environment, text=True)
        assert done.returncode == 0, (line, done)
        return done.stdout


def test_the_front_page(cluster, tmp_path):
    """Its lines in their order: three nodes, and the requests between."""
    page = Page(cluster, tmp_path, 3)
    lines = commands(README)
    assert lines.pop(0) == "scripts/cluster"
    answers = []
    for line in lines:
        if line.startswith("curl "):
            answers.append(page.run(line.replace("curl ", "curl -sS ", 1)))
            continue
        i = int(re.search(r"-id node(\d)", line)[1])
        if "-raddr" not in line and page.nodes[i].proc:
            assert page.nodes[i].terminate(20) == 0
        page.daemon(i, line.replace("build/craftd", BINARY + ("" if "-raddr" in line else PORTS)))
        cluster.wait_members(1 + max(n for n in range(3) if page.nodes[n].proc))
    assert answers[:2] == ["", '{"user1":"batman"}']
    assert answers[2:5] == ['{"user1":"batman"}'] * 3
    assert answers[5:8] == ["", '{"user2":"robin"}', ""]
    assert '"leader"' in answers[8] and len(answers) == 9


def test_the_page_for_curl(cluster, tmp_path):
    page = Page(cluster, tmp_path, 1)
    page.daemon(0, f"{BINARY}{PORTS} -id node0 ~/node0")
    (tmp_path / "cfg.bin").write_text("one")
    (tmp_path / "new.bin").write_text("two")
    lines = commands(os.path.join(ROOT, "scripts", "manual", "curl.md"))
    assert len(lines) == 5
    tag = ""
    codes = []
    for line in lines:
        if '"44"' in line:
            line = line.replace('"44"', tag)
        if line.endswith(" -d ..."):
            line = line.replace("...", """'{"then": [{"incr": "paid", "by": 1}]}'""")
            page.run(line.replace("curl ", "curl -sSf ", 1))
        out = page.run(line.replace("curl ", "curl -sS -D head -w ' %{http_code}' ", 1))
        codes.append(out.split()[-1])
        found = re.search(r'(?mi)^etag: (".*")', (tmp_path / "head").read_text())
        tag = found[1] if found and not tag else tag
    # The transaction compares with an index of the page's own: nothing is done.
    assert codes == ["201", "204", "201", "200", "200"]
    assert page.nodes[0].get("paid") == "1"


def test_the_page_about_security(cluster, tmp_path):
    """A file of users as the page makes it, and a key for the links."""
    page = Page(cluster, tmp_path, 2)
    lines = commands(os.path.join(ROOT, "scripts", "manual", "security.md"))
    passwd, token, user, bearer, own, join, joins, keygen, with_key = lines
    bob = page.run(passwd, "secret\nsecret\n").strip()
    rule, secret = page.run(token).split("\n")[:2]
    (tmp_path / "auth.json").write_text(f"""[{bob}, {rule},
        {{"token": "sha256:{'0' * 64}", "perms": ["join"]}},
        {{"username": "uid:0", "perms": ["all"]}}, {{"username": "*", "perms": ["status"]}}]""")
    os.chmod(tmp_path / "auth.json", 0o600)
    page.run(keygen)
    page.daemon(0, with_key.replace("craftd ", f"{BINARY} -raddr :12000 ", 1)
                .replace("cluster.key", f"{tmp_path}/cluster.key").replace("./", "~/")
                + f" --auth {tmp_path}/auth.json --http :11000,unix:{tmp_path}/socket")
    page.environment["TOKEN"] = secret
    page.run("curl -sSf --user bob:secret -T /dev/null localhost:11000/key/svc/a")
    page.run(user.replace("bob", "bob:secret").replace("curl ", "curl -sSf ", 1))
    assert '"leader"' in page.run(bearer.replace("curl ", "curl -sSf ", 1))
    page.environment["CRAFTD_ADDR"] = f"localhost:{page.nodes[0].http_port}"
    page.run(own)
    page.environment["CRAFTD_ADDR"] = f"unix:{tmp_path}/socket"
    page.run(join)
    page.daemon(1, joins.replace("craftd ", f"{BINARY} ", 1).replace("...", "~/node1")
                .replace("auth.json", f"{tmp_path}/auth.json")
                .replace("-file token", f"-file {tmp_path}/token")
                + f" --cluster-key {tmp_path}/cluster.key -haddr :11001 -raddr :12001")
    cluster.wait_members(2)


def test_the_page_for_operators(cluster, tmp_path):
    """The lines in its table, in an order in which they can be run."""
    page = Page(cluster, tmp_path, 3)
    text = read(os.path.join(ROOT, "scripts", "manual", "operators.md"))
    lines = dict.fromkeys(
        line for line in re.findall(r"`([^`]+)`", text)
        if re.match(r"curl -|sqlite3 |craftd \w+ (.* )?(-id|backup\.db|--help)", line))
    for i in range(3):
        join = "-join :11000 " if i else ""
        page.daemon(i, f"{BINARY} -id node{i} -haddr :1100{i} -raddr :1200{i} {join}~/node{i}")
    cluster.wait_members(3)
    page.environment["CRAFTD_ADDR"] = page.map("localhost:11000")
    page.nodes[0].put("a", "kept")

    def run(start, stdin=""):
        line, = (line for line in lines if line.startswith(start))
        del lines[line]
        return page.run(line.replace("curl ", "curl -sSf ", 1).replace("... DIR", "./new"),
                        stdin)
    run("craftd backup backup.db")
    assert "keys" in run("craftd backup --show ")
    run("curl -o backup.db ")
    assert run("sqlite3 ") == "kept\n"
    assert page.nodes[0].put("a", "replaced").status == 200
    run("craftd restore --addr ")
    assert page.nodes[0].get("a") == "kept"
    run("curl -T backup.db ")
    run("curl -XPUT localhost:11000/nodes/node2")
    page.run("""curl -sSf -XPUT localhost:11000/nodes/node2 -d '{"voter":true}'""")
    run("curl -XPOST localhost:11000/leader")
    assert cluster.wait_leader() is page.nodes[2]
    run("curl -XDELETE localhost:11000/nodes/node2")
    for node in page.nodes:
        node.kill()
    run("craftd restore backup.db -id node0 ")
    assert "majority" in run("craftd recover --help")
    shutil.rmtree(tmp_path / "new")
    shutil.move(tmp_path / "node0", tmp_path / "new")
    run("craftd recover -id node0 ")
    assert not lines


def test_no_page_has_a_line_that_nothing_runs():
    own = {"README.md", "curl.md", "operators.md", "security.md"}
    for path in [README, *PAGES]:
        name = os.path.basename(path)
        if name in own or not commands(path):
            continue
        file, _, test = ELSEWHERE[name].partition(": ")
        assert f"def {test}(" in read(os.path.join(ROOT, "tests", "proc", file))
