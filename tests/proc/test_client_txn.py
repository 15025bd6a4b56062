"""craftd txn: what is wrong in a file is named with its line."""
import json

import pytest

from test_client import DONE, FAILED, NO, answer, craftd, problem, run, serve  # noqa: F401
# pylint: disable=redefined-outer-name,unused-import

GOOD = ['{', '  "if": [', '    {"key": "txn/a", "exists": false}',
        '  ],', '  "then": [', '    {"put": "txn/b", "value": "1"},',
        '    {"put": "txn/c", "value": "2"},', '    {"get": "txn/c"}', '  ]', '}', '']


def with_line(number, text):
    lines = list(GOOD)
    lines[number - 1] = text
    return "\n".join(lines)


def refused(addr, path, text, *code):
    path.write_text(text)
    done = craftd("txn", str(path), addr=addr)
    assert done.returncode in code and done.stderr.count(b"\n") == 1, done
    return done.stderr.decode()


@pytest.mark.parametrize("line, text, says", [
    (7, '    {"putt": "txn/c", "value": "2"},', 'an operation has no member "putt"'),
    (7, '    {"put": "txn/c", "value": 2},', "a string is expected"),
    (7, '    {"put": "txn/c", "valeu": "2"},', 'did you mean "value"?'),
    (7, '    {"put": "txn/c"},', "an operation is put with value"),
    (7, '    {"put": "", "value": ""},', "key"),
    (7, '    7,', "an object is expected"),
    (3, '    {"kye": "txn/a", "exists": false}', 'a clause has no member "kye"'),
    (3, '    {"key": "txn/a"}', "a clause has one key and one comparison"),
    (5, '  "than": [', 'did you mean "then"?'),
    (6, '    {"put": "txn/b" "value": "1"},', ""),
    (8, '    {"get": "txn/c}', ""),
    (10, '} x', ""),
])
def test_the_line_of_an_error_is_named(three, addr, tmp_path, line, text, says):
    file = tmp_path / "swap.json"
    said = refused(addr, file, with_line(line, text), FAILED)
    assert f"{file}"[:60] in said and f", line {line}: " in said and says in said, said
    assert "at byte" not in said
    assert craftd("get", "txn/b", addr=addr).returncode == NO  # Nothing was done.


def test_the_line_of_a_condition_or_an_operation(three, addr, tmp_path):
    file = tmp_path / "f.json"
    run("put", "txn/word", "abc", addr=addr)
    text = ('{"then": [{"put": "txn/x", "value": "}]\\n"},\n\n  {"incr": "txn/word"}],\n'
            '"if": [{"key": "txn/word", "exists": true},\n'
            '\n{"key":\n "txn/word", "value": "abc"},\n{"key": "txn/none", "exists": true}]}')
    said = refused(addr, file, text, NO)
    assert ", line 8: condition 2 does not hold" in said, said
    said = refused(addr, file, text.replace("txn/none", "txn/word"), FAILED)
    assert ", line 3: incr: the value is not a decimal" in said, said
    # With "else" it may be an operation of either list.
    said = refused(addr, file, text.replace('"if"', '"else": [{"incr": "txn/word"}], "if"')
                   .replace("txn/none", "txn/word"), FAILED)
    assert ", line" not in said and "incr: the value" in said, said


def test_stdin_has_lines_too(three, addr):
    done = craftd("txn", addr=addr, data=with_line(7, "    {,").encode())
    assert done.returncode == FAILED and b"stdin, line 7: " in done.stderr


def test_a_server_that_names_no_place(serve, tmp_path):
    file = tmp_path / "f.json"
    file.write_text("{}")
    done = craftd("txn", str(file), addr=serve(problem(400, "bad-json", "at byte 1: x")).addr)
    assert done.returncode == FAILED and b"at byte 1: x" in done.stderr
    for members in ({"offset": 1 << 60}, {"clause": 9}, {"clause": "x"}, {"operation": 0},
                    {"offset": -1}):
        body = json.dumps({"status": 400, "message": "m", **members}).encode()
        done = craftd("txn", str(file), addr=serve(answer(400, body)).addr)
        assert done.returncode == FAILED and b": m\n" in done.stderr
        assert b"line" not in done.stderr


def test_what_is_right_is_done(three, addr, tmp_path):
    file = tmp_path / "f.json"
    file.write_text("\n".join(GOOD).replace("txn/", "txn2/"))
    done = craftd("txn", str(file), addr=addr)
    assert (done.returncode, done.stderr) == (DONE, b"")
    assert json.loads(done.stdout)["results"][2]["value"] == "2"
