"""A model of one upload session, which any replica goes on with.

The record of a session moves by compare-and-swap, and each of its versions is unique. It has the stage of the session, the
lowest number that no part has had, and what was received: parts of an object in parts, and pieces, which are objects of
their own. Two appends, two commits and an expiry run at once. Each may stop for any time before a step, or die; a message
takes effect at any time, also after its sender has given up. What is late cannot be told from what is under way, so there is
no clock.
"""

from typing import NamedTuple

from parts import Part

GONE = ""


class Append(NamedTuple):
    step: str = "load"
    version: int = 0
    number: int = 0
    received: tuple = ()  # as it was read


class Commit(NamedTuple):
    step: str = "load"
    version: int = 0


class Session(NamedTuple):
    stage: str = "open"  # "committing", "ended", GONE
    version: int = 0
    following: int = 1  # lowest number that no part has had
    received: tuple = ()  # (number, writer); number 0 is a piece
    acknowledged: tuple = ()
    # In the bucket.
    parts: tuple = ()
    pieces: tuple = ()
    upload: str = "open"  # "made", "aborted"
    data: bool = False  # the private object that the parts become
    blob: bool = False
    link: bool = False
    # Actors.
    appends: tuple = (Append(), Append())
    commits: tuple = (Commit(), Commit())
    expiry: str = "off"
    expiry_version: int = 0
    flight: tuple = ()
    answered: bool = False
    refused: bool = False  # a commit was told that there is no session


class Sessions(Part):
    rules = dict(
        pieces=0,  # the second append stores a piece, not a part
        reserves=1,  # a number is recorded before its part is sent
        compares=1,  # a record is moved only from the version that was read
        commits_first=1,  # the record says "committing" before the object is made
        ends_first=1,  # the record says "ended" before anything is removed
        record_last=1,  # the record goes last
        sweeps=1,  # what no record names is removed when it is old
        late_parts=1,  # an aborted upload may take parts that are under way
        expires=1,
        commits=2,
    )

    def first(self):
        return Session(commits=(Commit(),) * self.commits, expiry="load" if self.expires else "off")

    def steps(self, s):
        for i, a in enumerate(s.appends):
            for label, state, b in self.append(s, i, a):
                yield f"A{i} {label}", state._replace(appends=s.appends[:i] + (b,) + s.appends[i + 1:])
        for i, c in enumerate(s.commits):
            for label, state, b in self.commit(s, i, c):
                yield f"C{i} {label}", state._replace(commits=s.commits[:i] + (b,) + s.commits[i + 1:])
        for label, state in self.expire(s):
            yield f"E {label}", state
        yield from self.land(s)
        left = s.pieces or s.data or s.parts and s.upload == "aborted"
        if self.sweeps and s.stage == GONE and left and not s.flight and self.is_calm(s):
            yield "sweep", s._replace(pieces=(), data=False, parts=())

    def is_calm(self, s):
        """Nobody sends anything any more: all that was sent is old."""
        return all(a.step == "end" for a in s.appends) and all(c.step == "end" for c in s.commits)

    def moves(self, s, version):
        return s.version == version or not self.compares

    def append(self, s, i, a):
        is_piece = self.pieces and i == 1
        if a.step not in ("end",):
            yield "dies", s, Append("end")
        if a.step == "load":
            if s.stage != "open":
                yield "there is no open session", s, Append("end")
            elif is_piece or not self.reserves:
                number = 0 if is_piece else s.following
                yield "loads", s, Append("send", s.version, number, s.received)
            else:
                yield "loads", s, Append("reserve", s.version, 0, s.received)
        elif a.step == "reserve":
            if s.stage == "open" and self.moves(s, a.version):
                after = s._replace(version=s.version + 1, following=s.following + 1)
                yield f"reserves {s.following}", after, Append("send", after.version, s.following, a.received)
            else:
                yield "conflict", s, Append("end")
        elif a.step == "send":
            yield "sends", self.send(s, ("piece" if is_piece else "part", a.number, i)), a._replace(step="sent")
        elif a.step == "record":
            if s.stage == "open" and self.moves(s, a.version):
                after = s._replace(
                    version=s.version + 1, following=max(s.following, a.number + 1),
                    received=a.received + ((a.number, i),), acknowledged=s.acknowledged + ((a.number, i),))
                yield "records: 202", after, Append("end")
            else:
                yield "conflict", s, Append("end")

    def send(self, s, message):
        return s._replace(flight=tuple(sorted(s.flight + (message,))))

    def commit(self, s, i, c):
        if c.step not in ("end", "sent"):
            yield "dies", s, Commit("end")
        if c.step == "load":
            if s.stage == "open" and s.received:
                yield "loads", s, Commit("commit" if self.commits_first else "make", s.version)
            elif s.stage == "committing":
                yield "loads, goes on", s, Commit("make", s.version)
            elif s.stage in ("ended", GONE):
                yield "there is no session", *self.unknown(s)
        elif c.step == "commit":
            if s.stage == "open" and self.moves(s, c.version):
                yield "records: committing", s._replace(version=s.version + 1, stage="committing"), Commit("make")
            else:
                yield "is not the first", s, Commit("load")
        elif c.step == "make":
            yield "makes the object", self.send(s, ("make", 0, i)), Commit("sent")
        elif c.step == "copy":
            yield "copies it", self.send(s, ("copy", 0, i)), Commit("sent")
        elif c.step == "link":
            if s.blob:
                yield "links: 201", s._replace(link=True, answered=True), Commit("clean")
            else:
                yield "the blob is gone", *self.unknown(s)
        elif c.step == "clean":
            yield "removes data and pieces", s._replace(data=False, pieces=()), Commit("forget")
        elif c.step == "forget":
            yield "removes the record", s._replace(stage=GONE, received=(), acknowledged=()), Commit("end")

    def unknown(self, s):
        """A commit of a session that is gone succeeds if the blob is there."""
        return (s, Commit("end")) if s.link and s.blob else (s._replace(refused=True), Commit("end"))

    def expire(self, s):
        order = ["end", "abort", "list", "data", "record"]
        if not self.ends_first:
            order = ["abort", "list", "data", "end", "record"]
        if not self.record_last:
            order = ["end", "record", "abort", "list", "data"]
        following = dict(zip(order, order[1:] + ["off"]))
        if s.expiry == "load" and s.stage != GONE:
            first = order[0] if s.stage != "ended" else following["end"]
            yield "loads", s._replace(expiry=first, expiry_version=s.version)
        elif s.expiry not in ("load", "off"):
            # One that dies is followed by another one.
            yield "dies", s._replace(expiry="load")
        after = s._replace(expiry=following.get(s.expiry, s.expiry))
        if s.expiry == "end":
            if s.stage in ("open", "committing") and self.moves(s, s.expiry_version):
                yield "records: ended", after._replace(stage="ended", version=s.version + 1)
            else:
                yield "conflict", s._replace(expiry="load")
        elif s.expiry == "abort":
            yield "aborts the upload", after._replace(
                upload="aborted" if s.upload == "open" else s.upload, parts=() if s.upload == "open" else s.parts)
        elif s.expiry == "list":
            yield "removes pieces", after._replace(pieces=())
        elif s.expiry == "data":
            yield "removes the data", after._replace(data=False)
        elif s.expiry == "record":
            yield "removes the record", after._replace(stage=GONE, received=(), acknowledged=())

    def land(self, s):
        for n, m in enumerate(s.flight):
            kind, number, i = m
            s2 = s._replace(flight=s.flight[:n] + s.flight[n + 1:])
            if kind in ("part", "piece"):
                yield from self.land_bytes(s2, m)
            else:
                yield from self.land_object(s2, kind, i)

    def land_bytes(self, s, message):
        kind, number, i = message
        a, stored = s.appends[i], True
        if kind == "piece":
            s = s._replace(pieces=tuple(sorted(set(s.pieces) | {i})))
        elif s.upload == "open" or s.upload == "aborted" and self.late_parts:
            stored = s.upload == "open"
            kept = tuple(p for p in s.parts if p[0] != number)
            s = s._replace(parts=tuple(sorted(kept + ((number, i),))))
        else:
            stored = False
        if a.step == "sent":
            a = a._replace(step="record") if stored else Append("end")
        yield f"{kind} of A{i} takes effect", s._replace(appends=s.appends[:i] + (a,) + s.appends[i + 1:])

    def land_object(self, s, kind, i):
        if kind == "make":
            wanted = {p for p in s.received if p[0]}
            if s.upload == "open" and wanted <= set(s.parts):
                s = s._replace(upload="made", data=True, parts=())
            following = "copy" if s.upload == "made" else "load"
        else:
            s = s._replace(blob=s.blob or s.data)
            following = "link" if s.data else "load"
        # The parts or the data are gone: another commit has ended, or the session has.
        if s.commits[i].step == "sent":
            s = s._replace(commits=s.commits[:i] + (Commit(following),) + s.commits[i + 1:])
        yield f"{kind} of C{i} takes effect", s
        if s.commits[i].step == following:
            died = s.commits[:i] + (Commit("end"),) + s.commits[i + 1:]
            yield f"{kind} of C{i} takes effect, C{i} has died", s._replace(commits=died)

    def fault(self, s):
        if s.stage in ("open", "committing"):
            lost = [p for p in s.acknowledged if p not in s.received]
            lost += [p for p in s.received if p[0] and s.upload == "open" and p not in s.parts]
            lost += [p for p in s.received if not p[0] and not s.data and not s.blob and p[1] not in s.pieces]
            if lost or s.received and s.upload == "aborted":
                return f"1 acknowledged bytes {lost} of an open session are gone"
            if s.upload == "made" and s.stage == "open":
                return "1 the object is made while the session takes bytes"
        if s.answered and not (s.blob and s.link):
            return "1 the acknowledged blob is gone"
        if s.refused and s.expiry != "off" and s.stage == "committing":
            return "7 a commit is refused although the session goes on"
        if s.stage == GONE and not s.flight and self.is_calm(s) and s.expiry in ("off", "load"):
            if s.upload == "open":
                return "5 an upload stays open that no record names"
            if not self.sweeps and (s.pieces or s.data or s.parts and s.upload == "aborted"):
                return "5 a session without a record leaves something"
        return None


GOOD = {
    "ci: session: two appends, a commit, expiry": Sessions(commits=1),
    "ci: session: a part and a piece, a commit, expiry": Sessions(commits=1, pieces=1),
    "session: two appends, two commits, expiry": Sessions(),
    "session: a part and a piece, two commits, expiry": Sessions(pieces=1),
}
BAD = {
    "ci: bad: session: numbers of parts are not reserved": Sessions(commits=1, reserves=0),
    "ci: bad: session: records are overwritten": Sessions(commits=1, compares=0),
    "ci: bad: session: the object is made first": Sessions(commits=1, commits_first=0),
    "ci: bad: session: the upload is aborted first": Sessions(commits=1, ends_first=0),
    "ci: bad: session: the record goes first": Sessions(commits=1, record_last=0),
    "ci: bad: session: pieces without a record stay": Sessions(commits=1, pieces=1, sweeps=0, late_parts=0),
    "ci: bad: session: parts that an abort does not see stay": Sessions(commits=1, sweeps=0),
}


def cases():
    """Yields (name, a function that explores, true if no fault may be found)."""
    for is_good, part in ((True, GOOD), (False, BAD)):
        for name, model in part.items():
            yield name, model.run, is_good
