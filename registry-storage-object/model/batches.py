"""A small model of the announcement of a batch of removals, on a store whose nodes have clocks of their own.

A tick is the validity of a removal, with the time in which a node acts on it. The clocks of two nodes differ by K ticks or less.
The collection has the date from one node. A removal may get to another one, whose clock is `slow` ticks behind that, and takes
effect there until that clock has passed the end. The replica asks a third one, which is `ahead` of the first.

Modelled
  Announcements are numbered, and a listing may omit any of them. The collection knows the difference of the clocks that it has
  seen. A removal may get to one that it has not seen, and every answer shows the clock of its node. A batch is announced for the
  greatest difference, and for the one that was seen once all its removals have been answered. The collection may stop for any
  time, and for ever. An intermediary may send an answered removal a second time, to a node that the collection has seen.
Not modelled: a copy of an answered removal that gets, more than a tick late, to a node that the collection has never seen.
"""

from typing import NamedTuple

from parts import Part

K, VALID = 2, 1
NEVER = -1


class BatchState(NamedTuple):
    slow: int = NEVER
    ahead: int = 0
    is_seen: bool = True  # the collection has had answers of the node that gets its removal
    announced: tuple = ()  # of the announcement: its age, the time for which the replica has known it, the time it lasts
    flight: tuple = ()  # removals under way: their age, and "awaited", "lost" or "copy"
    collection: str = "announces"
    rescued: bool = False
    replica: str = "rescues"
    there: bool = True


class Batch(Part):
    rules = dict(
        numbered=1,  # the look does not depend on a listing
        local=1,  # a batch is over once the replica has known it for as long as its removals may take
        spread=1,  # that time has the difference of the clocks that the collection has seen
        waits=1,  # it has the greatest difference until all removals were answered
        dated=1,  # or once the date of an answer has passed its end
        margin=1,  # by the greatest difference
    )

    def first(self):
        return BatchState()

    def steps(self, s):
        if s.slow == NEVER:
            for slow in range(K + 1):
                for ahead in range(K + 1 - slow):
                    for is_seen in (True, False):
                        yield f"clocks: {slow} behind, {ahead} ahead", s._replace(
                            slow=slow, ahead=ahead, is_seen=is_seen)
            return
        yield from self.collect(s)
        yield from self.messages(s)
        yield from self.push(s)
        yield "time passes", self.later(s)

    def later(self, s):
        alive = tuple((age + 1, kind) for age, kind in s.flight if age + 1 <= VALID + s.slow)
        top = VALID + 3 * K + 2
        announced = tuple(
            (min(age + 1, top), known if known == NEVER else min(known + 1, top), lasts)
            for age, known, lasts in s.announced)
        return s._replace(announced=announced, flight=alive)

    def lasts(self, spread):
        return VALID + (spread if self.spread else 0)

    def collect(self, s):
        c = s.collection
        if c == "announces":
            spread = K if self.waits else s.slow if s.is_seen else 0
            yield "collection announces the batch", s._replace(
                announced=((0, NEVER, self.lasts(spread)),), collection="looks")
        elif c == "looks":
            yield "collection looks for rescues", s._replace(collection="ends" if s.rescued else "sends")
        elif c == "sends" and s.announced[0][0] <= VALID:
            age = s.announced[0][0]
            yield "collection sends DELETE", s._replace(flight=s.flight + ((age, "awaited"),), collection="sent")
        elif c == "answered":
            (age, known, lasts), = s.announced
            shorter = min(lasts, self.lasts(s.slow))
            yield "collection shortens the announcement", s._replace(
                announced=((age, known, shorter),), collection="ends")

    def messages(self, s):
        for n, (age, kind) in enumerate(s.flight):
            rest = s.flight[:n] + s.flight[n + 1:]
            after = s._replace(flight=rest, there=False)
            if kind != "awaited":
                yield f"DELETE takes effect ({kind})", after
                continue
            yield "DELETE takes effect, and is answered", after._replace(collection="answered")
            if s.is_seen:
                yield "DELETE takes effect, and is under way a second time", after._replace(
                    flight=rest + ((age, "copy"),), collection="answered")
            yield "its answer is lost", s._replace(flight=rest + ((age, "lost"),), collection="ends")

    def is_open(self, s, age, known, lasts):
        by_date = self.dated and age + s.ahead > VALID + (K if self.margin else 0)
        by_time = self.local and known > lasts
        return not (by_date or by_time)

    def read(self, s):
        """The announcements as the replica knows them after a look."""
        return tuple((age, 0 if known == NEVER else known, lasts) for age, known, lasts in s.announced)

    def push(self, s):
        if s.replica == "rescues":
            yield "replica rescues", s._replace(rescued=True, replica="waits")
        elif s.replica == "waits":
            looks = [self.read(s)]
            if not self.numbered and s.announced:
                looks.append(())
            for announced in looks:
                is_open = any(self.is_open(s, *batch) for batch in announced)
                known = s._replace(announced=announced) if announced else s
                if is_open:
                    yield "replica looks: removals are going on", known
                else:
                    yield "replica looks: no removal is going on", known._replace(replica="pushes")
        elif s.replica == "pushes":
            yield "replica stores it: 201", s._replace(there=True, replica="201")

    def fault(self, s):
        return "1 the content of an acknowledged push is gone" if s.replica == "201" and not s.there else None


GOOD = {
    "ci: batch: clocks of nodes differ": Batch(),
    "ci: batch: ends by the store's clock alone": Batch(local=0),
    "ci: batch: ends by the local clock alone": Batch(dated=0),
}
BAD = {
    "ci: bad: batch: a listing omits it": Batch(numbered=0),
    "ci: bad: batch: dates end it without the difference of clocks": Batch(margin=0),
    "ci: bad: batch: the difference of the clocks is not counted": Batch(spread=0),
    "ci: bad: batch: its time is the short one before its removals are answered": Batch(waits=0),
}


def cases():
    """Yields (name, a function that explores, true if no fault may be found)."""
    for is_good, part in ((True, GOOD), (False, BAD)):
        for name, model in part.items():
            yield name, model.run, is_good
