"""Is the history of one key linearizable? The sibling of tests/sim/linear.c.

Wing and Gong's search with Lowe's cache of visited states ("Testing for
linearizability", 2017): pick an operation that began before any other ended,
apply it to the register, go on; backtrack at a dead end. Three facts keep the
search short, so that histories of a minute are no trouble:

An operation that fits the register and leaves it as it is (a read of this
very value) can go next at once: nothing that came after it would differ.

A write whose outcome is not known may have happened at any time after it
began, or never. Where nobody saw it, it may as well not have happened, so it
is placed directly before an operation that needs it, or nowhere. Of several
with the same effect any one will do: they stay available once they are.

A value that still has to be read must stay, unless somebody else will write
it again; all values that need not be read again are one and the same.
"""
import collections

READ, WRITE, DELETE = "read", "write", "delete"

# Good histories need about as many states as they have operations.
STATES_MAX = 300_000

_INFINITE = float("inf")
_ANY = object()  # Some value that nobody is going to read.


class Op(collections.namedtuple("Op", "kind value begin end who")):
    """value: what was read or written, None when there is no such key; of a
    delete: True or False when it was told whether there was one, or None.
    begin, end: any clock that all share; end None: the outcome is not known."""
    __slots__ = ()

    def __new__(cls, kind, value, begin, end, who=""):
        assert kind in (READ, WRITE, DELETE), kind
        assert end is None or begin <= end, (begin, end)
        return super().__new__(cls, kind, value, begin, end, who)

    def leaves(self):
        """The value of the register after a write or a delete."""
        return self.value if self.kind == WRITE else None

    def fits(self, register):
        """Can it have answered as it did?"""
        if self.kind == READ:
            return register == self.value
        if self.kind == DELETE and self.value is not None:
            return (register is not None) == self.value
        return True

    def is_idle(self, register):
        """It fits, and changes nothing, nor could it be of use later."""
        if self.kind == DELETE:
            return self.value is False and register is None
        return self.kind == READ and register == self.value


class _Search:
    """A state is (first, mask, used, register): the known operations before
    `first` are done, those after it with their bit in `mask`; the unknown
    ones with their bit in `used` have happened."""

    def __init__(self, ops):
        by_begin = sorted(ops, key=lambda op: op.begin)
        self.known = [op for op in by_begin if op.end is not None]
        self.unknown = [op for op in by_begin
                        if op.end is None and op.kind != READ]
        self.gave_up = False
        self.readers, self.writers = {}, {}
        for at, op in enumerate(self.known):
            if op.kind != DELETE:
                of = self.readers if op.kind == READ else self.writers
                of.setdefault(op.value, []).append(at)

    def candidates(self, first, mask):
        """Which may be next, the first to end first; and until when one may
        have begun to be next (equal times count as concurrent)."""
        found, until = [], _INFINITE
        for at in range(first, len(self.known)):
            if mask >> (at - first) & 1:
                continue
            op = self.known[at]
            if op.begin > until:
                break
            found.append(at)
            until = min(until, op.end)
        found.sort(key=lambda at: self.known[at].end)
        return found, until

    def any_left(self, places, first, mask):
        return any(at >= first and not mask >> (at - first) & 1
                   for at in places or ())

    def settle(self, first, mask, used, register):
        """The same state, as few of them as there can be."""
        while mask & 1:
            first, mask = first + 1, mask >> 1
        if register is not None and not self.any_left(
                self.readers.get(register), first, mask):
            register = _ANY
        return first, mask, used, register

    def may_go(self, state):
        """No operation needs the current value, or it can be written again."""
        first, mask, used, register = state
        if register is None or register is _ANY:
            return True
        return self.any_left(self.writers.get(register), first, mask) or any(
            op.leaves() == register and not used >> at & 1
            for at, op in enumerate(self.unknown))

    def helpers(self, op, state, until):
        """The states after one more unknown operation that make `op` fit."""
        first, mask, used, _ = state
        found = {}
        for at, maybe in enumerate(self.unknown):
            if maybe.begin > until:
                break
            if not used >> at & 1 and op.fits(maybe.leaves()):
                helped = self.settle(first, mask, used | 1 << at, maybe.leaves())
                found.setdefault(helped[3], helped)
        return found.values()

    def take(self, state, at):
        """The state after known[at], which fits."""
        first, mask, used, register = state
        op = self.known[at]
        if op.kind != READ:
            register = op.leaves()
        return self.settle(first, mask | 1 << (at - first), used, register)

    def next_states(self, state):
        first, mask, _, register = state
        found, until = self.candidates(first, mask)
        for at in found:
            if self.known[at].is_idle(register):
                return [self.take(state, at)]
        if not self.may_go(state):
            return []
        states = []
        for at in found:
            op = self.known[at]
            if op.fits(register):
                states.append(self.take(state, at))
                continue
            for helped in self.helpers(op, state, until):
                if op.kind == READ or self.may_go(helped):
                    states.append(self.take(helped, at))
        return states

    def run(self, register):
        """None when an order was found, else the state that came furthest."""
        state = self.settle(0, 0, 0, register)
        stack, seen = [state], {state}
        best, best_done = state, -1
        while stack:
            state = stack.pop()
            done = state[0] + state[1].bit_count()
            if state[0] == len(self.known):
                return None
            if done > best_done:
                best, best_done = state, done
            # The first to end is tried first: it is on top of the stack.
            for after in reversed(self.next_states(state)):
                if after not in seen:
                    seen.add(after)
                    stack.append(after)
            if len(seen) > STATES_MAX:
                self.gave_up = True
                break
        return best


def check(ops, register=None):
    """None when some order explains the history, which began with `register`;
    otherwise words about where every order ends, or every order that was tried
    before the search was given up."""
    ops = list(ops)
    search = _Search(ops)
    stuck = search.run(register)
    if stuck is None:
        return None
    first, mask, used, register = stuck
    next_ones, until = search.candidates(first, mask)
    waiting = [at for at in search.readers.get(register, ())
               if search.any_left([at], first, mask)]
    zero = min(op.begin for op in ops)

    def line(op, mark=" "):
        end = "?" if op.end is None else f"{op.end - zero:.6f}"
        return (f"  {mark} {op.begin - zero:.6f} .. {end} {op.kind} "
                f"{op.value!r} {op.who}")
    holds = "some value" if register is _ANY else repr(register)
    verdict = "not decided" if search.gave_up else "not linearizable"
    words = [f"{verdict}: {first + mask.bit_count()} of "
             f"{len(search.known)} explained, then it holds {holds} and none "
             "of these (>) can be next, or what it holds would be gone for "
             "those that still read it (!)"]
    shown = set(range(max(0, first - 8), max(next_ones) + 4))
    for at in sorted(shown | set(waiting)):
        if at < len(search.known):
            mark = ">" if at in next_ones else "!" if at in waiting else " "
            words.append(line(search.known[at], mark))
    words += [line(op) for at, op in enumerate(search.unknown)
              if not used >> at & 1 and op.begin <= until][-8:]
    return "\n".join(words)
