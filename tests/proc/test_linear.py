"""The checker itself: it has to find what is wrong, and only that."""
import itertools
import random
import time

import pytest

from linear import DELETE, READ, WRITE, Op, check


def write(value, begin, end):
    return Op(WRITE, value, begin, end)


def read(value, begin, end):
    return Op(READ, value, begin, end)


def delete(found, begin, end):
    return Op(DELETE, found, begin, end)


GOOD = {
    "nothing": [],
    "in a row": [write("a", 0, 1), read("a", 2, 3), write("b", 4, 5),
                 read("b", 6, 7), delete(True, 8, 9), read(None, 10, 11)],
    "concurrent, either way": [write("a", 0, 9), read(None, 1, 2), read("a", 3, 4)],
    "two writes, the later call first": [write("a", 0, 9), write("b", 1, 8),
                                         read("b", 2, 3), read("a", 4, 5)],
    "unknown, seen": [write("a", 0, None), read("a", 5, 6)],
    "unknown, never seen": [write("a", 0, None), read(None, 5, 6)],
    "unknown, seen late": [write("a", 0, None), write("b", 1, 2),
                           read("b", 3, 4), read("a", 5, 6)],
    "unknown delete": [write("a", 0, 1), delete(None, 2, None),
                       read("a", 3, 4), read(None, 5, 6)],
    "unknown write before a delete": [write("a", 0, None), delete(True, 1, 2)],
    "unknown delete before a delete": [write("a", 0, 1), delete(None, 2, None),
                                       delete(False, 3, 4)],
    "nothing to delete": [delete(False, 0, 1), read(None, 2, 3)],
    "one delete of two finds it": [write("a", 0, 1), delete(True, 2, 9),
                                   delete(False, 3, 8)],
    "a read of unknown outcome says nothing": [write("a", 0, 1),
                                               read("z", 2, None)],
    "equal times are concurrent": [write("a", 0, 1), read(None, 1, 1),
                                   write("b", 1, 2), read("b", 2, 3)],
    "the same value again": [write("a", 0, 1), write("a", 2, None),
                             write("b", 3, 4), read("a", 5, 6)],
}

BAD = {
    "a value from nowhere": [write("a", 0, 1), read("z", 2, 3)],
    "a stale read": [write("a", 0, 1), write("b", 2, 3), read("a", 4, 5)],
    "a lost write": [write("a", 0, 1), read(None, 2, 3)],
    "back in time": [write("a", 0, 1), write("b", 2, 9), read("b", 3, 4),
                     read("a", 5, 6)],
    "back in time, unknown": [write("a", 0, 1), write("b", 2, None),
                              read("b", 3, 4), read("a", 5, 6)],
    "seen before it began": [read("a", 0, 1), write("a", 2, None)],
    "an unknown write twice": [write("a", 0, None), write("b", 1, 2),
                               read("a", 3, 4), write("c", 5, 6),
                               read("a", 7, 8)],
    "back from the dead": [write("a", 0, 1), delete(True, 2, 3), read("a", 4, 5)],
    "deleted by nobody": [write("a", 0, 1), read("a", 2, 3), read(None, 4, 5)],
    "deleted twice": [write("a", 0, 1), delete(True, 2, 9), delete(True, 3, 8)],
    "found nothing to delete": [write("a", 0, 1), delete(False, 2, 3)],
    "two readers disagree": [write("a", 0, 9), write("b", 0, 9),
                             read("a", 1, 2), read("b", 3, 4), read("a", 5, 6)],
    "an unknown delete twice": [write("a", 0, 1), delete(None, 2, None),
                                read(None, 3, 4), write("b", 5, 6),
                                read(None, 7, 8)],
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name):
    for ops in itertools.islice(itertools.permutations(GOOD[name]), 24):
        assert check(ops) is None, ops


@pytest.mark.parametrize("name", BAD)
def test_bad(name):
    for ops in itertools.islice(itertools.permutations(BAD[name]), 24):
        words = check(ops)
        assert words and "not linearizable" in words, ops


def test_words_name_the_culprit():
    words = check([write("a", 0, 1), write("b", 2, 3),
                   Op(READ, "a", 4, 5, "reader 7 at node2"), read("b", 6, 7)])
    assert "1 of 4 explained, then it holds 'a'" in words
    assert "> 2.000000 .. 3.000000 write 'b'" in words
    assert "! 4.000000 .. 5.000000 read 'a' reader 7 at node2" in words


def explained(ops):
    """By trying every order of every choice, as the definition says."""
    known = [op for op in ops if op.end is not None]
    unknown = [op for op in ops if op.end is None]
    for count in range(len(unknown) + 1):
        for happened in itertools.combinations(unknown, count):
            for order in itertools.permutations(known + list(happened)):
                if in_order(order):
                    return True
    return False


def in_order(order):
    register = None
    for at, op in enumerate(order):
        if any(later.end is not None and later.end < op.begin
               for later in order[at + 1:]):
            return False
        if not op.fits(register):
            return False
        if op.kind != READ:
            register = op.leaves()
    return True


def test_as_the_definition_says():
    """Small histories of all kinds, most of them wrong."""
    dice = random.Random(1)
    verdicts = {True: 0, False: 0}
    for _ in range(3000):
        ops = []
        for _ in range(dice.randint(2, 6)):
            begin = dice.randint(0, 8)
            end = begin + dice.randint(0, 5)
            kind = dice.choice((READ, READ, WRITE, DELETE))
            if kind != READ and dice.random() < 0.3:
                end = None
            if kind == DELETE:
                value = None if end is None else dice.choice((True, False, None))
            else:
                value = dice.choice("ab" if kind == WRITE else ("a", "b", None))
            ops.append(Op(kind, value, begin, end))
        expected = explained(ops)
        verdicts[expected] += 1
        assert (check(ops) is None) == expected, ops
    assert min(verdicts.values()) > 500, verdicts


def play(dice, clients, count):
    """A history of clients of a real register: each operation takes effect at one
    moment between call and answer, or, if unknown, later or never."""
    calls = []
    for who in range(clients):
        now = dice.random()
        for number in range(count // clients):
            begin = now
            effect = begin + dice.random()
            end = effect + dice.random()
            now = end + dice.random() * 0.1
            kind = dice.choice((READ, READ, WRITE, WRITE, DELETE))
            if kind != READ and dice.random() < 0.1:
                end = None
                effect += dice.choice((0, 20, 1e9))
            value = f"{who}-{number}" if kind == WRITE else None
            calls.append((effect, Op(kind, value, begin, end)))
    register, ops = None, []
    for effect, op in sorted(calls):
        if op.kind == READ:
            op = op._replace(value=register)
        elif op.kind == DELETE and op.end is not None:
            op = op._replace(value=register is not None)
        if effect < 1e8 and op.kind != READ:
            register = op.leaves()
        ops.append(op)
    return ops


def test_long_histories_are_quick():
    dice = random.Random(2)
    began = time.monotonic()
    for _ in range(20):
        ops = play(dice, 10, 500)
        assert check(ops) is None
        # One read of something older is enough.
        reads = [at for at, op in enumerate(ops) if op.kind == READ and op.value]
        old = ops[reads[5]]
        ops[reads[-1]] = ops[reads[-1]]._replace(value=old.value)
        last = max(op.begin for op in ops)
        ops += [write("x", last + 90, last + 91), read("x", last + 92, last + 93)]
        ops.append(read(old.value, last + 94, last + 95))
        assert check(ops) is not None
    assert time.monotonic() - began < 30
