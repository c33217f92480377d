"""Two small models: the order of locks in stripes, and directories that are removed while files are created in them."""

from typing import NamedTuple, Optional


def explore(first, steps, fault, is_end):
    """Returns the number of states, the fault, and the trace to it. `steps` yields (label, next state)."""
    number, order, parents = {first: 0}, [first], [(-1, "")]

    def trace(n):
        labels = []
        while n > 0:
            labels.append(parents[n][1])
            n = parents[n][0]
        return labels[::-1]

    for n, s in enumerate(order):
        found = fault(s)
        if found:
            return len(order), found, trace(n)
        following = list(steps(s))
        if not following and not is_end(s):
            return len(order), "a deadlock", trace(n)
        for label, state in following:
            if state not in number:
                number[state] = len(order)
                order.append(state)
                parents.append((n, label))
    return len(order), None, []


# Read-write locks of which a waiting writer stops new readers, and a mutex "t" of a tag. A thread locks its stripes,
# then the tag, and at last adds the stripe of the manifest that the tag leaves.


class Thread(NamedTuple):
    keys: tuple  # stripes that it locks first
    mode: str  # "shared" or "exclusive"
    tag: bool = False
    adds: Optional[int] = None  # the last stripe, shared
    place: int = 0
    held: tuple = ()  # (lock, mode)
    waits: Optional[int] = None  # as a writer
    ended: bool = False


class Locks:
    def __init__(self, threads, in_order=1, once=1, adds_without_waiting=1):
        self.in_order, self.once, self.adds_without_waiting = in_order, once, adds_without_waiting
        self.first = tuple(Thread(self.ordered(t.keys), *t[1:]) for t in threads)

    def ordered(self, keys):
        keys = tuple(dict.fromkeys(keys)) if self.once else keys
        return tuple(sorted(keys)) if self.in_order else keys

    def run(self):
        return explore(self.first, self.steps, lambda s: None, lambda s: all(t.ended for t in s))

    def is_free(self, s, i, lock, mode):
        others = [held for j, t in enumerate(s) if j != i for held in t.held]
        own = s[i].held
        if mode == "shared":
            waiting = any(t.waits == lock for t in s)
            return not waiting and (lock, "exclusive") not in others + list(own)
        return all(held != lock for held, _ in others + list(own))

    def steps(self, s):
        for i, t in enumerate(s):
            if t.ended:
                continue
            plan = [(key, t.mode) for key in t.keys] + ([("t", "exclusive")] if t.tag else [])
            if t.place < len(plan):
                lock, mode = plan[t.place]
                if self.is_free(s, i, lock, mode):
                    state = t._replace(place=t.place + 1, held=t.held + ((lock, mode),), waits=None)
                    yield f"{i} locks {lock}", s[:i] + (state,) + s[i + 1:]
                elif mode == "exclusive" and t.waits is None:
                    yield f"{i} waits for {lock}", s[:i] + (t._replace(waits=lock),) + s[i + 1:]
            elif t.adds is None or (t.adds, "shared") in t.held:
                yield f"{i} ends", s[:i] + (t._replace(held=(), ended=True),) + s[i + 1:]
            elif self.is_free(s, i, t.adds, "shared"):
                yield f"{i} adds {t.adds}", s[:i] + (t._replace(held=t.held + ((t.adds, "shared"),)),) + s[i + 1:]
            elif self.adds_without_waiting:
                # Releases all, and begins again with this key among the first ones.
                state = t._replace(keys=self.ordered(t.keys + (t.adds,)), place=0, held=())
                yield f"{i} begins again", s[:i] + (state,) + s[i + 1:]


PUT = Thread((2, 1), "shared", tag=True, adds=0)
PUT_AGAIN = Thread((1, 2, 1), "shared")
PUT_BACK = Thread((0, 1), "shared", tag=True, adds=2)
DELETE_MANIFEST = Thread((0,), "exclusive", tag=True)
DELETE_OTHER = Thread((2,), "exclusive", tag=True)
DELETE_TAG = Thread((), "shared", tag=True, adds=0)
DELETE_BLOB = Thread((2, 1), "exclusive")
DELETE_ALIAS = Thread((1, 2), "exclusive")

LOCKS_GOOD = {
    "locks: a put beside deletions": [PUT, DELETE_MANIFEST, DELETE_BLOB],
    "locks: two puts that move a tag to and fro": [PUT, PUT_BACK, DELETE_MANIFEST, DELETE_OTHER],
    "locks: a tag is deleted with its manifest": [DELETE_TAG, DELETE_MANIFEST, PUT],
    "locks: a stripe twice": [PUT_AGAIN, DELETE_BLOB, DELETE_ALIAS],
}
LOCKS_BAD = {
    "bad: locks in any order": ([DELETE_BLOB, DELETE_ALIAS], dict(in_order=0)),
    "bad: a stripe is locked twice": ([PUT_AGAIN, DELETE_BLOB], dict(once=0)),
    "bad: the last stripe is waited for": ([PUT, DELETE_MANIFEST], dict(adds_without_waiting=0)),
}


# Two writers create files "a" and "b" in one directory, whose parent always exists. Another request deletes "a" and
# "c", and removes the directory when it is empty. Each directory of that name is another one, with a number. The power
# may fail in any state: a file is then there if its name and that of its directory were synced.
#
# A removal is either counted, or alone: it then takes a lock that all others hold until they have ended.


class Writer(NamedTuple):
    name: str  # of its file
    deletes: bool = False  # the file, instead of creating it
    step: str = "begin"
    began: int = 0  # removals before it began
    synced: bool = False  # the directory was there to be synced


class Remover(NamedTuple):
    step: str = "delete"
    rounds: int = 2


class Directory(NamedTuple):
    there: int  # number of the directory, 0: there is none
    made: int  # number of directories made so far
    files: frozenset
    synced_name: int  # the directory that a power cut leaves
    synced_files: frozenset  # of that directory, or of the one that is there: (number, name)
    known: bool  # remembered as durable
    leaving: bool
    removals: int
    writers: tuple
    remover: Remover
    deleted: bool  # "a" was deleted by request


class Directories:
    def __init__(self, forgets=1, counts=1, leaves=1, makes_way=1, alone=0, deletion_locks=1):
        self.forgets, self.counts, self.leaves, self.makes_way = forgets, counts, leaves, makes_way
        self.alone, self.deletion_locks = alone, deletion_locks

    def run(self):
        files = frozenset([(1, "c")])
        # Without a counted removal, the deletion of "c" is one more request.
        writers = (Writer("c", deletes=True), Writer("b")) if self.alone else (Writer("a"), Writer("b"))
        first = Directory(1, 1, files, 1, files, True, False, 0, writers, Remover(), False)
        return explore(first, self.steps, self.fault, lambda s: all(w.step == "201" for w in s.writers))

    def is_locked(self, s):
        """True if a request holds the lock that a removal takes alone."""
        return self.alone and any(
            w.step not in ("begin", "201") and (self.deletion_locks or not w.deletes) for w in s.writers)

    def fault(self, s):
        for w in s.writers:
            if w.step == "failed":
                return f"the push of {w.name} fails, because its directory was removed"
            is_durable = w.deletes or (s.synced_name, w.name) in s.synced_files
            if w.step == "201" and not is_durable and not (w.name == "a" and s.deleted):
                return f"a power cut loses the acknowledged file {w.name}"
        return None

    def steps(self, s):
        for i, w in enumerate(s.writers):
            for label, state, writer in self.write(s, w):
                yield f"{w.name}: {label}", state._replace(writers=s.writers[:i] + (writer,) + s.writers[i + 1:])
        yield from self.remove(s)

    def write(self, s, w):
        if w.step == "begin":
            # It waits for a removal that is alone.
            if not self.alone or s.remover.step in ("delete", "look") or w.deletes and not self.deletion_locks:
                yield "begins", s, w._replace(step="unlink" if w.deletes else "rename", began=s.removals)
        elif w.step == "unlink":
            yield "deleted", s._replace(files=s.files - {(s.there, w.name)}), w._replace(step="sync")
        elif w.step in ("rename", "rename again"):
            if s.there:
                yield "renamed", s._replace(files=s.files | {(s.there, w.name)}), w._replace(step="sync")
            else:
                gives_up = w.step == "rename again" and not self.makes_way
                yield "there is no directory", s, w._replace(step="failed" if gives_up else "make")
        elif w.step == "make":
            if s.there:
                yield "the directory is there", s, w._replace(step="rename again")
            else:
                made = s.made + 1
                yield "makes the directory", s._replace(there=made, made=made), w._replace(step="rename again")
        elif w.step == "sync":
            kept = frozenset(f for f in s.synced_files if f[0] != s.there)
            synced = kept | frozenset(f for f in s.files if f[0] == s.there)
            following = "remember" if s.there and s.known else "sync parent"
            yield "syncs the directory", s._replace(synced_files=synced), w._replace(step=following, synced=bool(s.there))
        elif w.step == "sync parent":
            yield "syncs the parent", s._replace(synced_name=s.there), w._replace(step="remember")
        elif w.step == "remember":
            is_another = self.counts and s.removals > w.began or self.leaves and s.leaving
            known = s.known or w.synced and not is_another
            yield "201", s._replace(known=known), w._replace(step="201")

    def remove(self, s):
        r = s.remover
        if r.step in ("delete", "look") and self.is_locked(s):
            return
        if r.step == "delete" and r.rounds and self.alone:
            # It takes the lock, and removes the file itself unless another one is faster.
            if s.there:
                yield "locks", s._replace(remover=r._replace(step="unlink", rounds=r.rounds - 1))
        elif r.step == "unlink":
            state = s._replace(files=s.files - {(s.there, "c")})
            yield "deletes c", state._replace(remover=r._replace(step="forget"))
        elif r.step == "delete" and r.rounds:
            for name in "ac":
                if (s.there, name) in s.files:
                    state = s._replace(files=s.files - {(s.there, name)}, deleted=s.deleted or name == "a")
                    yield f"deletes {name}", state._replace(remover=r._replace(step="look", rounds=r.rounds - 1))
        elif r.step == "look":
            is_empty = s.there and not any(number == s.there for number, _ in s.files)
            yield "looks", s._replace(remover=r._replace(step="forget" if is_empty else "delete"))
        elif r.step == "forget":
            known = s.known and not self.forgets
            state = s._replace(known=known, leaving=not self.alone)
            yield "forgets the directory", state._replace(remover=r._replace(step="rmdir"))
        elif r.step == "rmdir":
            is_empty = s.there and not any(number == s.there for number, _ in s.files)
            state = s._replace(there=0) if is_empty else s
            yield "rmdir", state._replace(remover=r._replace(step="gone" if is_empty else "stays"))
        elif r.step in ("gone", "stays"):
            removals = s.removals + (r.step == "gone" and not self.alone)
            yield r.step, s._replace(removals=removals, leaving=False, remover=r._replace(step="delete"))


DIRECTORIES_BAD = {
    "bad: a removed directory is not forgotten": dict(forgets=0),
    "bad: removals are not counted": dict(counts=0),
    "bad: a directory is remembered while it is removed": dict(leaves=0),
    "bad: a directory is made once": dict(makes_way=0),
    "bad: a deletion holds no lock while a directory is removed alone": dict(alone=1, deletion_locks=0),
}


def cases():
    """Yields (name, a function that explores, true if no fault may be found)."""
    for name, threads in LOCKS_GOOD.items():
        yield f"ci: {name}", Locks(threads).run, True
    for name, (threads, options) in LOCKS_BAD.items():
        yield f"ci: {name}", Locks(threads, **options).run, False
    yield "ci: directories", Directories().run, True
    yield "ci: directories, removed alone", Directories(alone=1).run, True
    for name, options in DIRECTORIES_BAD.items():
        yield f"ci: {name}", Directories(**options).run, False
