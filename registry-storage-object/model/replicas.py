#!/usr/bin/env python3
"""Explicit-state model of a bucket that N replicas serve while a collector removes.

    replicas.py            every good case, every case that must fail, and the small models
    replicas.py NAME...    the cases whose name contains one of NAME; `ci:` is the part that CI runs
    -v                     the trace of every case that must fail

Exit status 0: every good case holds in every reachable state, and every variant that must fail does.

Figures, CPU seconds of one core of a cloud machine with Python 3.11: `ci:` 2.1 million states in 110 s. A million states
take 40 s and 800 MB.

Protocol. T is the greatest age of a view, L the greatest time from the view to the last write that rests on it, F the
validity of the other urls and the time in which the store acts. D is longer than T + L + F. Urls expire by the clock of
the store: they are signed with the date of one of its answers.
  A section of a request begins with a view: it reads the state of the collection. What it relies on and finds on the list
  of condemned keys, it rescues: it writes a key for the digest. It then looks for marks of removals that are going on, and
  only then for the content. What it publishes (links, records, trash records, tags) expires T + L after the view.
  A collector
  1. lists tags, records, trash records, then links and data, writes the list of what is dead, and of the subjects of dead
     referrers, and moves the state to it;
  2. waits for D. One that takes over, which moves the state too, waits until the list is that old;
  3. lists everything again. For manifests, links and data in turn, it takes the date, marks the batch as dying until the
     urls of that date have expired, looks for the rescued, and drops from its victims what they keep, and their referrers;
  4. looks at the state, and sends one DELETE after the other. After an unclear answer it waits until the mark has ended,
     and lists again;
  5. waits until its last mark has ended, moves the state to idle, and removes the keys of the epoch.

Modelled
  Links, records and data as keys of their own. Image C -> B, index I -> C -> B, an index of indexes, a blob in two
  repositories, a blob of two images, two tags, a referrer.
  Time as ticks: T + L is 2, F is 1, D is 4. Each actor may stop before any step, for any time.
  A removal, a tag, a link, a record and a trash record are messages. They take effect at any time until they expire, with
  an answer, without one, or twice. Other writes take effect when they are answered: late, they keep more, or are garbage.
  A client begins anew after a lost answer, a refusal or an expired url, as it does after a crash of its replica.
Checked in every state
  1, 2 a tag points at a complete closure, acknowledged or not, unless a request deleted a part
  3 an acknowledged tag is there until a request deletes it
  4 a trash record keeps links and data
  5 with `ends`: from every state a single collector leaves no garbage, no list and no keys of its own
  7 with `ends`: from every state pushes end beside a collector
  8 a referrer whose subject is tagged is not removed
`batches.py` has a small model of the end of a batch, on nodes whose clocks differ.
`parts.py` has small models: moves of a tag, numbered logs, deletions by a replica that dies, the name of a list.
`sessions.py` has one of an upload session.

Not modelled: clocks that run backwards, a store that accepts expired urls (then D has to bound stalls), more than two
requests at once, rescues of one section that are written one by one.
"""

import sys
import time
from typing import NamedTuple

sys.dont_write_bytecode = True

import batches
import parts
import sessions
from facts import Op
from protocol import Model


def push(r="0"):
    """HEAD of the child, else of the blob, else its push; then the child, then what names it."""
    return [
        Op("head", r, "C", 4, 1), Op("head", r, "B", 3, 2), Op("commit", r, "B", 3, 2), Op("put", r, "C", 4, 1),
        Op("put", r, "I", None, 0, "t")]


def image(r="0", m="C", tags="t"):
    return [Op("head", r, "B", 2, 1), Op("commit", r, "B", 2, 1), Op("put", r, m, None, 0, tags)]


def retag(tags):
    """A tag for a manifest that the client believes to be there; else its blob, too."""
    return [Op("put", "0", "C", None, 1, tags), Op("head", "0", "B", 0, 2), Op("commit", "0", "B", 0, 2)]


PROGRAMS = {
    "push": (push(), 0),
    "index": (push(), 4),
    "image": (image(), 0),
    "image I": (image(m="I"), 0),
    "blob": ([Op("commit", "0", "B")], 0),
    "retag": (retag("t"), 0),
    "tag u": (retag("u"), 0),
    "tag I": ([
        Op("put", "0", "I", None, 1, "t"), Op("put", "0", "F", 2, 1), Op("put", "0", "C", 0, 1)], 0),
    "mount": ([Op("mount", "1", "B", 2, 1), Op("commit", "1", "B", 2, 1), Op("put", "1", "C", None, 0, "t")], 0),
    "subject": ([Op("put", "0", "C", None, 0, "t")], 0),
    "referrer": ([Op("put", "0", "R", None, 0)], 0),
    "restore": ([Op("restore", "0", "C", 1, None, "t"), Op("forget", "0", "C")], 0),
    "expire": ([Op("forget", "0", "C")], 0),
    "delete C": ([Op("delete manifest", "0", "C")], 0),
    "delete R": ([Op("delete manifest", "0", "R")], 0),
    "delete tag": ([Op("delete tag", "0", "C", tags="t")], 0),
    "delete B": ([Op("delete blob", "0", "B")], 0),
}


class Case(NamedTuple):
    name: str
    programs: list
    disk: str
    options: dict


def case(name, programs, disk, **options):
    return Case(name, [PROGRAMS[program] for program in programs.split(", ")], disk, options)


DEAD = "R0C L0B DC DB"  # an untagged manifest
IMAGE = DEAD + " t0C"
NESTED = "R0I R0C R0F DI DC DF"  # an index of an index, untagged
TRASHED = "X0C L0B DC DB"
CHAIN = dict(graph="chain")
BOTH = dict(graph="repositories")
TWO_TAGS = dict(graph="two tags")
REFERRER = dict(graph="referrer")

GOOD = [
    case("ci: image, dead", "image", DEAD, ends=1),
    case("ci: image, dead, a lost answer each", "image", DEAD, lost=1, ends=1),
    case("image, dead, D = 12", "image", DEAD, lost=1, D=12),
    case("ci: image, nothing there", "image", "", ends=1),
    case("ci: image, the blob alone", "image", "L0B DB", ends=1),
    case("ci: image, late data", "image", "DB", late_data=1, ends=1),
    case("ci: tag of an untagged manifest", "retag", DEAD, ends=1),
    case("ci: index on a dead child", "push", DEAD, **CHAIN, ends=1),
    case("index on a dead child, a lost answer each", "push", DEAD, **CHAIN, lost=1),
    case("index on a dead child, batches by level", "push", DEAD, graph="levels", ends=1),
    case("ci: index of an index, dead", "tag I", NESTED, graph="nested", ends=1),
    case("index of an index, dead, batches by level", "tag I", NESTED, graph="nested levels"),
    case("ci: image, dead, marks before each batch", "image", DEAD, again="each", ends=1),
    case("ci: the client library sends a DELETE again", "image", DEAD, lost=1, retry=1),
    case("ci: rescues are remembered", "push", DEAD, remembers="looked", **CHAIN, ends=1),
    case("ci: mount beside a dead image", "mount", DEAD, **BOTH, ends=1),
    case("ci: mount beside a dead image, listed in steps", "mount", DEAD, slow=1, **BOTH, ends=1),
    case("mount of a live blob beside its deletion", "mount, delete C", IMAGE, **BOTH),
    case("two images share a blob", "image, image I", DEAD, graph="two images"),
    case("two equal pushes", "image, image", DEAD),
    case("ci: two epochs", "retag", DEAD, epochs=2),
    case("ci: a doubled message", "image", DEAD, doubled=1),
    case("ci: two collectors, tag of a manifest", "retag", "R0C DC", graph="manifest", collectors=2, ends=1),
    case("two collectors, tag", "retag", DEAD, collectors=2, ends=1),
    case("two collectors, image", "image", DEAD, collectors=2),
    case("two collectors, tag of a manifest, a lost answer each", "retag", "R0C DC", graph="manifest", collectors=2, lost=1),
    case("three collectors, tag of a manifest", "retag", "R0C DC", graph="manifest", collectors=3),
    # The trash.
    case("ci: restore", "restore", TRASHED, trash=1, slow=1, ends=1),
    case("ci: restore beside the expiry of its record", "restore, expire", TRASHED, trash=1, ends=1),
    case("ci: deletion of a dead manifest, trash of requests only", "delete C", DEAD, trash=1, own_trash=0, slow=1),
    case("tag beside deletion, trash", "retag, delete C", DEAD, trash=1, slow=1),
    case("image beside deletion, trash", "image, delete C", IMAGE, trash=1),
    case("another tag beside deletion, trash", "delete C, tag u", IMAGE, trash=1, slow=1, **TWO_TAGS),
    # Deletions.
    case("tag beside deletion", "retag, delete C", IMAGE, ends=1),
    case("ci: a tag moves, another one is deleted, in steps", "tag u, delete tag", IMAGE, slow=1, **TWO_TAGS, ends=1),
    case("image beside the deletion of its blob", "image, delete B", DEAD),
    # Referrers.
    case("ci: subject of a dead referrer", "subject", "DR R0R", **REFERRER, ends=1),
    case("subject and referrer", "subject, referrer", "", **REFERRER),
    # Listings.
    case("ci: an unreadable record", "mount", IMAGE, unread=1, **BOTH),
    case("ci: a key is omitted once, two listings", "retag", DEAD, omits=1),
]

# Each of these must fail.
LOSS = ("1", "2", "3")
BAD = [
    case("ci: bad: publishing writes do not expire", "image", DEAD, fence=0, only=LOSS),
    case("ci: bad: a promise rescues nothing", "retag", DEAD, rescues=0, only=LOSS),
    case("ci: bad: marks of removals are not looked for", "image", DEAD, dying_check=0, only=LOSS),
    case("ci: bad: D is T + L + F", "image", DEAD, D=3, only=LOSS),
    case("ci: bad: a message lives longer than F", "image", DEAD, late=4, only=LOSS),
    case("ci: bad: rescues are remembered at once", "image", DEAD, remembers="at once", only=LOSS),
    case("ci: bad: marks once", "push", DEAD, again="", only=LOSS, **CHAIN),
    case("ci: bad: only tags are roots of a later marking", "push", "L0B DB", survivors=0, only=LOSS, **CHAIN),
    case("ci: bad: what is rescued keeps nothing else", "tag I", NESTED, graph="nested", closure=0, only=LOSS),
    case("ci: bad: a doubled DELETE, the mark goes with the answer", "image", DEAD, doubled=1, stands=0, only=LOSS),
    case("ci: bad: a doubled DELETE, the run ends while its mark stands", "image", DEAD, doubled=1, end_waits=0, only=LOSS),
    case("ci: bad: a time-out counts as an answer, the mark goes", "image", DEAD, lost=1, lift=1, stands=0, only=LOSS),
    case("ci: bad: a DELETE sent again, the mark goes", "image", DEAD, lost=1, retry=1, stands=0, only=LOSS),
    case("ci: bad: DELETE without expiry", "image", DEAD, collectors=2, fence_delete=0, only=LOSS),
    case("ci: bad: the state is not read before a DELETE", "image", DEAD, collectors=2, check=0, only=LOSS),
    case("ci: bad: holder and state are two objects", "image", DEAD, collectors=2, one=0, only=LOSS),
    case("ci: bad: a successor does not wait", "image", DEAD, collectors=2, successor_waits=0, only=LOSS),
    case("ci: bad: keys of old epochs stay", "retag", "R0C DC", graph="manifest", collectors=2, sweep=0, ends=1, only=("5",)),
    case("ci: bad: trash is listed before records", "retag, delete C", DEAD, trash=1, slow=1, records_first=0, only=("4",)),
    case("ci: bad: a trash record promises nothing", "delete C", DEAD, trash=1, own_trash=0, trash_promises=0, only=("4",)),
    case("ci: bad: tags are listed once by a deletion", "retag, delete C", IMAGE, tags_again=0, only=LOSS),
    case("ci: bad: the subject of a referrer is not on the list", "subject", "DR R0R", watch=0, **REFERRER, only=("8",)),
    case("ci: bad: a subject does not keep its referrers", "subject", "DC R0C t0C DR R0R", subjects=0, **REFERRER, only=("8",)),
    case("ci: bad: an unreadable record is skipped", "mount", IMAGE, unread=1, pins=0, **BOTH, only=LOSS),
    case("ci: bad: a key is omitted once", "retag", DEAD, omits=1, twice=0, only=LOSS),
    case("ci: bad: every listing omits a tag", "mount", IMAGE, hidden="t0C", **BOTH, only=LOSS),
]


def run(name, explore, is_good, verbose):
    """Prints what was explored. Returns the number of states, and false if it is not as expected."""
    start = time.process_time()
    count, fault, trace = explore()
    is_expected = (fault is None) == is_good and fault != "too many states"
    print(f"{'ok  ' if is_expected else 'FAIL'} {count:8} {time.process_time() - start:7.1f} s  {name}", flush=True)
    if fault:
        print(f"       {fault}")
    if fault and (verbose or not is_expected):
        print("       " + " | ".join(trace))
    return count, is_expected


def main():
    names, verbose = [a for a in sys.argv[1:] if a != "-v"], "-v" in sys.argv
    cases = [(c.name, Model(c).explore, is_good) for is_good, part in ((True, GOOD), (False, BAD)) for c in part]
    cases += [*batches.cases(), *parts.cases(), *sessions.cases()]
    results = [run(name, explore, is_good, verbose) for name, explore, is_good in cases
               if not names or any(part in name for part in names)]
    failed = [is_expected for _, is_expected in results].count(False)
    states = sum(count for count, _ in results)
    print(f"{states} states, {time.process_time():.0f} s, {failed} not as expected")
    # A run of nothing has shown nothing.
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
