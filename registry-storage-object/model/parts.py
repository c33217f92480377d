"""Small models beside the one of collection: upload sessions, moves of a tag, numbered logs, deletions beside a push, lists.

Each has its own states, and no clock: a message under way may take effect at any time until it expires.
"""

from typing import NamedTuple, Optional


def explore(model):
    """Returns the number of states, the fault, and the trace to it. `steps` yields (label, next state)."""
    first = model.first()
    number, order, parents = {first: 0}, [first], [(-1, "")]

    def trace(n):
        labels = []
        while n > 0:
            labels.append(parents[n][1])
            n = parents[n][0]
        return labels[::-1]

    for n, s in enumerate(order):
        found = model.fault(s)
        if found:
            return len(order), found, trace(n)
        for label, state in model.steps(s):
            if state not in number:
                number[state] = len(order)
                order.append(state)
                parents.append((n, label))
    return len(order), None, []


class Part:
    """A small model with its rules. A variant changes some of them."""

    rules = {}

    def __init__(self, **changes):
        unknown = set(changes) - set(self.rules)
        assert not unknown, unknown
        for name, value in {**self.rules, **changes}.items():
            setattr(self, name, value)

    def run(self):
        return explore(self)


# A tag is an object that moves by compare-and-swap. Its version is an ETag, which may depend on the content alone. The
# first replica moves it from A to B; the second one rolls back to A once it has seen B.


class TagState(NamedTuple):
    value: str = "A"
    moves: int = 0
    first: str = "read"
    second: str = "waits"
    expected: tuple = ()  # of the messages of the first replica that are under way
    second_expects: Optional[str] = None
    doubled: int = 0


class TagSwap(Part):
    """Moves of one tag: after an acknowledged move, every read has it or a later one."""

    rules = dict(
        unique=0,  # each write has a version of its own: a generation, or a number of a log
        waits=1,  # after a lost answer the replica decides once its url has expired
        doubles=0,  # messages that take effect twice
        rests=0,  # a tag does not return to a value that it has had since the last urls expired
    )

    def first(self):
        return TagState(doubled=self.doubles)

    def version(self, s):
        return f"{s.value}{s.moves}" if self.unique else s.value

    def steps(self, s):
        yield from self.first_replica(s)
        yield from self.messages(s)
        if s.second == "waits" and s.first == "201":
            yield "second reads B", s._replace(second="sends", second_expects=self.version(s))
        if s.second == "sends" and s.second_expects == self.version(s) and not (self.rests and s.expected):
            yield "second moves the tag back to A: 201", s._replace(value="A", moves=s.moves + 1, second="201")

    def first_replica(self, s):
        if s.first == "read":
            yield "first reads A, sends B", s._replace(first="sent", expected=s.expected + (self.version(s),))
        elif s.first == "sent":
            yield "first loses the answer", s._replace(first="unclear")
        elif s.first == "unclear" and not (self.waits and s.expected):
            if s.value == "B":
                yield "first reads B back: 201", s._replace(first="201")
            elif len(s.expected) < 2:
                yield "first reads A back, sends B again", s._replace(
                    first="sent", expected=s.expected + (self.version(s),))

    def messages(self, s):
        for n, expected in enumerate(s.expected):
            rest = s.expected[:n] + s.expected[n + 1:]
            first = s.first
            if expected == self.version(s):
                first = "201" if first == "sent" else first
                after = s._replace(value="B", moves=s.moves + 1, first=first)
                yield "B takes effect", after._replace(expected=rest)
                if s.doubled:
                    yield "B takes effect, and is under way a second time", after._replace(doubled=s.doubled - 1)
            else:
                first = "unclear" if first == "sent" and not rest else first
                yield "B is refused", s._replace(expected=rest, first=first)
            if self.waits:
                first = "unclear" if s.first == "sent" else s.first
                yield "a url of B expires", s._replace(expected=rest, first=first)

    def fault(self, s):
        if s.second == "201" and s.value != "A":
            return "3 the acknowledged move to A is gone"
        return None


# A log of numbered keys that are created if absent: of tags, or of states of the collection. A reader finds the head by
# looking for the next number from the highest that it knows.


class LogState(NamedTuple):
    numbers: int = 0b10
    following: int = 2  # of the first writer
    step: str = "probe"
    number: int = 1  # the highest that the second one knows


class Log(Part):
    rules = dict(
        trims=0,  # numbers below the head are removed
        lists=0,  # a writer lists after its creation
        reads=0,  # the second one only reads: an old number must not look like the head
    )

    def first(self):
        return LogState()

    def steps(self, s):
        head = s.numbers.bit_length() - 1
        if s.following <= 3:
            yield f"first creates {s.following}: 201", s._replace(
                numbers=s.numbers | 1 << s.following, following=s.following + 1)
        if self.trims and s.numbers != 1 << head:
            yield f"trims below {head}", s._replace(numbers=1 << head)
        is_next = s.numbers >> s.number + 1 & 1
        if s.step == "probe" and is_next:
            yield f"second finds {s.number + 1}", s._replace(number=s.number + 1)
        elif s.step == "probe":
            yield f"second takes {s.number} for the head", s._replace(
                step="wrong head" if self.reads and head > s.number else "head")
        elif s.step == "head" and not is_next:
            yield f"second creates {s.number + 1}", s._replace(
                numbers=s.numbers | 1 << s.number + 1, following=max(s.following, s.number + 2), number=s.number + 1,
                step="below" if s.following - 1 > s.number + 1 else "201")
        elif s.step == "below":
            yield "second answers", s._replace(step="refused" if self.lists else "wrong 201")

    def fault(self, s):
        return f"3 {s.step}, though {s.number} is not the newest number" if s.step.startswith("wrong") else None


# A deletion of a manifest by a replica that may die, beside a push of the same manifest under another tag.


class DeletionState(NamedTuple):
    record: bool = True
    old_tag: bool = True
    new_tag: bool = False
    note: str = ""  # of the deletion: "", "fresh", or "old" after its urls have expired
    flight: tuple = ()  # DELETEs under way: "awaited", "dead" (nobody waits), "answered" (a second time)
    deletion: str = "begin"
    push: str = "begin"
    doubled: int = 0


class Deletion(Part):
    rules = dict(
        once=1,  # the DELETE is sent once
        waits=1,  # an unclear one is waited for until its url has expired
        tags_again=1,  # tags are listed again after the DELETE
        looks=1,  # the push looks at its record after the tag
        notes=1,  # a note stands while a DELETE may be under way; the push waits for it after its tag
        waits_end=1,  # the note stands for F after the answer
        dies=1,  # the replica that deletes may die
        doubles=1,
        early=0,  # the push looks for the note before its tag, not after
    )

    def first(self):
        return DeletionState(doubled=self.doubles)

    def steps(self, s):
        yield from self.delete(s)
        yield from self.messages(s)
        yield from self.pushes(s)

    def delete(self, s):
        d = s.deletion
        if d == "begin":
            yield "deletion writes its note", s._replace(note="fresh" if self.notes else "", deletion="away")
        elif d == "away":
            yield "deletion removes the tags", s._replace(old_tag=False, new_tag=False, deletion="delete")
        elif d == "delete" and s.note == "old":
            yield "the url has expired", s._replace(deletion="begin")
        elif d == "delete":
            yield "sends DELETE", s._replace(flight=tuple(sorted(s.flight + ("awaited",))), deletion="sent")
        elif d == "unclear" and (not s.flight or not self.waits):
            yield "deletion reads the record", s._replace(deletion="begin" if s.record and self.waits else "again")
        elif d == "again":
            if self.tags_again:
                yield "lists the tags again", s._replace(old_tag=False, new_tag=False, deletion="end")
            else:
                yield "does not list again", s._replace(deletion="end")
        elif d == "end" and not (self.notes and self.waits_end and s.flight):
            yield "removes its note: 202", s._replace(note="", deletion="202")
        if self.dies and d not in ("202", "dead"):
            yield "the replica that deletes dies", s._replace(
                deletion="dead", flight=tuple(sorted("dead" if x == "awaited" else x for x in s.flight)))
        if s.note == "fresh" and not s.flight:
            yield "time passes, the urls have expired", s._replace(note="old")

    def messages(self, s):
        for n, m in enumerate(s.flight):
            rest = s.flight[:n] + s.flight[n + 1:]
            deletion = "again" if m == "awaited" else s.deletion
            after = s._replace(record=False, flight=rest, deletion=deletion)
            yield "DELETE takes effect", after
            if s.doubled and m == "awaited":
                yield "DELETE takes effect, and is under way a second time", after._replace(
                    flight=tuple(sorted(rest + ("answered",))), doubled=s.doubled - 1)
            if self.waits or m != "awaited":
                yield "DELETE expires", s._replace(flight=rest, deletion="unclear" if m == "awaited" else s.deletion)
            if m == "awaited":
                lost = tuple(sorted(rest + ("dead",)))
                yield "the answer is lost", s._replace(flight=lost, deletion="unclear")
                if not self.once and len(s.flight) == 1:
                    yield "the library sends DELETE again", s._replace(flight=("awaited", "awaited"))

    def pushes(self, s):
        p = s.push
        is_held = self.notes and s.note == "fresh"
        if p == "begin" and not (self.early and is_held):
            yield "push writes the record", s._replace(record=True, push="tag")
        elif p == "tag":
            yield "push moves its tag", s._replace(new_tag=True, push="note")
        elif p == "note" and (self.early or not is_held):
            yield "push finds no note", s._replace(push="look")
        elif p == "look" and not s.record and self.looks:
            yield "push looks: the record is gone", s._replace(push="begin")
        elif p == "look":
            yield "push: 201", s._replace(push="201")

    def fault(self, s):
        ended = s.push == "201" and s.deletion in ("202", "dead") and not s.flight
        return "2 the tag points at a record that is gone" if ended and s.new_tag and not s.record else None


# The same with marks in the place of notes, on a store with conditions. A version depends on the content alone. The tag of the
# push is removed like the record: marked, and then removed with this mark.


class Late(NamedTuple):
    key: str  # "record" or "tag"
    expects: str  # content on which it has an effect; "any"
    sets: str  # content after that; "" removes
    awaited: bool = True


class MarkState(NamedTuple):
    record: str = "plain"  # or "", or a mark
    tag: str = ""
    flight: tuple = ()
    deletion: str = "mark"
    marked: str = ""  # the mark with which the deletion removes the record
    has_late: bool = False  # the deletion has removed the tag after the record
    push: str = "begin"
    doubled: int = 0
    died: bool = False  # the replica that deletes has died before the push began


class Marked(Part):
    rules = dict(
        marks=1,  # a removal expects a mark
        marks_tags=1,  # also that of a tag
        takes_off=1,  # a push that finds a mark in its record writes record and tag again
        looks_late=1,  # a deletion that has removed a late tag looks at the record again
        doubles=1,  # removals that take effect twice
        doubles_marks=0,  # marks that take effect twice
        late=1,  # messages under way beside the one that is waited for
    )

    def first(self):
        return MarkState(doubled=self.doubles + self.doubles_marks)

    def steps(self, s):
        if len(s.flight) <= self.late and not any(m.awaited for m in s.flight):
            yield from self.delete(s)
        yield from self.messages(s)
        yield from self.pushes(s)
        if s.deletion not in ("202", "dead"):
            flight = tuple(sorted(m._replace(awaited=False) for m in s.flight))
            yield "the replica that deletes dies", s._replace(
                deletion="dead", marked="", flight=flight, died=s.push == "begin")

    def free(self, s):
        used = {s.record, s.tag, s.marked} | {x for m in s.flight for x in (m.expects, m.sets)}
        return next(mark for mark in "123456789" if mark not in used)

    def sends(self, s, key, expects, sets, deletion):
        return s._replace(flight=tuple(sorted(s.flight + (Late(key, expects, sets),))), deletion=deletion)

    def delete(self, s):
        d = s.deletion
        if d == "mark" and not s.record:
            yield "deletion finds no record: 202", s._replace(deletion="202")
        elif d == "mark" and (s.record != "plain" or not self.marks):
            yield "deletion goes on with a mark", s._replace(marked=s.record, deletion="list")
        elif d == "mark":
            yield "deletion marks the record", self.sends(s, "record", "plain", self.free(s), "marking")
        elif d == "list" and s.tag:
            yield "deletion finds the tag", s._replace(deletion="tag")
        elif d == "list":
            yield "deletion finds no tag", s._replace(deletion="delete")
        elif d in ("tag", "late tag") and not s.tag:
            yield "the tag is gone", s._replace(deletion="delete" if d == "tag" else "end")
        elif d in ("tag", "late tag") and s.tag == "plain" and self.marks_tags:
            yield "deletion marks the tag", self.sends(s, "tag", "plain", self.free(s), d)
        elif d in ("tag", "late tag"):
            yield "deletion removes the tag", self.sends(s, "tag", s.tag, "", d)
        elif d == "delete":
            yield "sends DELETE", self.sends(s, "record", s.marked if self.marks else "any", "", "deleting")
        elif d == "late":
            yield "lists the tags again", s._replace(deletion="late tag" if s.tag else "end", has_late=bool(s.tag))
        elif d == "end":
            again = s.has_late and s.record and self.looks_late
            yield "deletion ends, or begins again", s._replace(deletion="mark" if again else "202", has_late=False)

    def messages(self, s):
        for n, m in enumerate(s.flight):
            rest = s.flight[:n] + s.flight[n + 1:]
            holds = m.expects in ("any", getattr(s, m.key))
            after = s._replace(**{m.key: m.sets if holds else getattr(s, m.key)}, flight=rest)
            answered = self.answered(after) if m.awaited else after
            yield f"{m.key}: {m.expects} -> {m.sets or 'gone'}", answered
            if s.doubled and holds and (self.doubles_marks or not m.sets):
                yield "it takes effect, and is under way a second time", answered._replace(
                    flight=tuple(sorted(answered.flight + (m._replace(awaited=False),))), doubled=s.doubled - 1)
            if m.awaited:
                lost = tuple(sorted(rest + (m._replace(awaited=False),)))
                yield "its answer is lost", self.answered(s._replace(flight=lost))
                yield "it expires", self.answered(s._replace(flight=rest))
            else:
                yield "it expires", s._replace(flight=rest)

    def answered(self, s):
        """The deletion goes on by what it reads."""
        if s.deletion == "marking":
            return s._replace(deletion="mark")
        if s.deletion == "deleting":
            return s._replace(deletion="mark" if s.record else "late", marked="")
        return s

    def pushes(self, s):
        p = s.push
        if p in ("begin", "record"):
            yield "push writes the record", s._replace(record="plain", push="tag")
        elif p == "tag":
            yield "push moves its tag", s._replace(tag="plain", push="look")
        elif p == "look" and (not s.record or s.record != "plain" and self.takes_off):
            yield "push looks: the record is gone, or has a mark", s._replace(push="record")
        elif p == "look":
            yield "push: 201", s._replace(push="201")

    def fault(self, s):
        if s.push != "201" or s.flight or s.deletion not in ("202", "dead"):
            return None
        if s.tag and not s.record:
            return "2 the tag points at a record that is gone"
        if s.deletion == "202" and s.record and not s.tag:
            return "1 a deletion took the tag of an acknowledged push, and not its record"
        return "1 an acknowledged push is gone" if s.died and not (s.tag and s.record) else None


# The list of an epoch. A collector that has lost the lease writes its list late.


class ListState(NamedTuple):
    listed: str = ""  # "", "with", "without" the digest
    old: str = "marks"
    new: str = "takes over"
    rescued: bool = False
    replica: str = "view"
    there: bool = True


class Listed(Part):
    rules = dict(own_name=1)  # each list has a name of its own, which the state names

    def first(self):
        return ListState()

    def steps(self, s):
        if s.old == "marks":
            yield "old: the digest is live", s._replace(old="late")
        if s.old == "late" and s.new == "takes over":
            yield "new takes over: the digest is dead, writes the list", s._replace(listed="with", new="condemns")
        if s.old == "late" and s.new != "takes over" and not self.own_name:
            yield "old writes its list", s._replace(listed="without", old="ends")
        if s.new == "condemns":
            yield "new: condemned, waits", s._replace(new="waited")
        if s.new == "waited":
            is_held = s.rescued or s.replica == "201"
            yield "new marks again, lists the rescued", s._replace(new="ends" if is_held else "removes")
            if s.replica == "view":
                yield f"replica reads the list {s.listed} the digest", s._replace(
                    rescued=s.listed == "with", replica="looks")
        if s.new == "removes":
            yield "new removes the digest", s._replace(there=False, new="ends")
        if s.replica == "looks" and s.there and not (s.rescued and s.new == "removes"):
            yield "replica finds the digest: 201", s._replace(replica="201")

    def fault(self, s):
        return "1 the digest of an acknowledged push is gone" if s.replica == "201" and not s.there else None


GOOD = {
    "ci: tag: an ETag of the content, decided once the url has expired": TagSwap(),
    "ci: tag: versions of their own": TagSwap(unique=1, waits=0, doubles=1),
    "ci: tag: an ETag of the content, doubled, returns once urls have expired": TagSwap(doubles=1, rests=1),
    "ci: log of tags": Log(),
    "ci: log of tags, trimmed, a writer lists": Log(trims=1, lists=1),
    "ci: log of states": Log(reads=1),
    "ci: deletion beside a push": Deletion(),
    "ci: deletion without notes, its replica lives, nothing is doubled": Deletion(notes=0, dies=0, doubles=0),
    "ci: deletion, tags are listed once because of notes": Deletion(tags_again=0),
    "ci: deletion with marks beside a push": Marked(),
    "deletion with marks, more messages": Marked(doubles=2, late=2),
    "ci: list with a name of its own": Listed(),
}
BAD = {
    "ci: bad: tag: an ETag of the content, decided at once": TagSwap(waits=0),
    "ci: bad: tag: an ETag of the content, doubled": TagSwap(doubles=1),
    "ci: bad: log of tags, trimmed": Log(trims=1),
    "ci: bad: log of states, trimmed": Log(trims=1, reads=1),
    "ci: bad: deletion: the library sends DELETE again": Deletion(notes=0, dies=0, doubles=0, once=0),
    "ci: bad: deletion: an unclear answer is not waited for": Deletion(notes=0, dies=0, doubles=0, waits=0),
    "ci: bad: deletion: tags are listed once": Deletion(tags_again=0, notes=0, dies=0, doubles=0),
    "ci: bad: deletion: the push does not look after its tag": Deletion(looks=0),
    "ci: bad: deletion: its replica dies, no notes": Deletion(notes=0, doubles=0),
    "ci: bad: deletion: doubled, no notes": Deletion(notes=0, dies=0),
    "ci: bad: deletion: the note goes with the answer": Deletion(waits_end=0, dies=0),
    "ci: bad: deletion: the push looks for notes before its tag only": Deletion(early=1),
    "ci: bad: deletion with marks: its DELETE expects none": Marked(marks=0),
    "ci: bad: deletion with marks: tags have none": Marked(marks_tags=0),
    "ci: bad: deletion with marks: the push passes over one": Marked(takes_off=0),
    "ci: bad: deletion with marks: a late tag without a look at the record": Marked(looks_late=0),
    "ci: bad: deletion with marks: a mark is doubled": Marked(doubles_marks=1),
    "ci: bad: list that is written twice": Listed(own_name=0),
}


def cases():
    """Yields (name, a function that explores, true if no fault may be found)."""
    for is_good, part in ((True, GOOD), (False, BAD)):
        for name, model in part.items():
            yield name, model.run, is_good
