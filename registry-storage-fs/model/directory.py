#!/usr/bin/env python3
"""Explicit-state model of a directory that is collected while it serves.

    directory.py            every good case, every case that must fail, and the models of locks and of directories
    directory.py NAME...    the cases whose name contains one of NAME; `ci` is the part that CI runs
    directory.py pairs...   all pairs of requests; nothing else contains them, because they take long
    -v                      the trace of every case that must fail

Exit status 0: every good case holds in every reachable state, and every variant that must fail does.

Figures, CPU seconds of one core of a cloud machine with Python 3.11: `ci:` 400,000 states in 21 to 26 s; without
arguments 2.0 million in 145 s. Of the pairs, the group "no grace" without a kept trash has 1.0 million in 55 s.

Protocol. A section is the protected part of a request: it locks what it relies on in shared mode, touches it, looks for
it, and publishes. It ends when all that it published is durable. A run of the collector
  1. notes the time e, and waits until the sections that began before e have ended;
  2. lists the records and links of each repository, then the trash, then sessions. Nothing is listed again;
  3. removes dead manifests, parents before children, and subjects before referrers;
  4. marks what the listed records need, without the records that this run has removed;
  5. removes links that nothing marks, then data that nothing marks and no listed link resolves to.
Each removal is checked alone, under the exclusive lock of the item: whatever was touched since e stays, even if it was
released since. What is not touched since e is seen in the lists. There is no map of references that requests maintain.

Modelled
  Two repositories. Index I -> C -> B, and C -> B in the other one. Further graphs: a blob that an index names, an entry of
  an index that is held as a blob, a referrer, an alias (a link whose target has another digest), two tags.
  On disk: data, records, links, tags, trash records, an upload session. Lost in a restart: touches, runs, known closures.
  Touches: `idle` is 0 after a touch and grows to GRACE; an explicit run also counts as idle what a deletion or the move of
  a tag released. A trash record that is forgotten releases nothing. After an opening everything counts as touched, or
  nothing (`opening=0`: a run without grace).
  A HEAD of a manifest locks and finds the manifest alone, and touches what that names. A put looks at the whole
  closure.
  Locks by digest, in stripes that may collide. The collector only tries.
  Every write is a step. A crash comes before any step. With `power`, each write that is not durable survives or not.
  With `faults`, each removal may fail, and a run may end after any step: I/O errors, budgets, the fuse, cancellation.
Checked in every state
  1 what is acknowledged and not deleted is there, with its closure
  2 a tag points at a complete closure from its move on, unless a request deleted a part
  4 a trash record keeps what it needs; a restore is not refused because of the collector
  5 from every quiet state a run leaves exactly the reachable set
  6 a dry run changes nothing, and lists exactly what a run removes
  7 nothing deadlocks, all requests can end; 7b no push is refused because of the collector
  8 a referrer whose subject is tagged is not removed
`parts.py` has two more models: the order of locks in stripes, and directories that are removed while files are created
in them.

Not modelled: repair of an alias, quarantine, verification, the referrer index (derived), registry:2 between two runs, a
wrong clock, the number of touches that are exact, more than three requests at once, more than two levels of manifests.
"""

import sys
import time
from typing import NamedTuple

sys.dont_write_bytecode = True

import parts
from facts import GRACE, Op
from protocol import Model


def push(b="B", top="I", tags="t", refused=0):
    """HEAD of the child, else of the blob, else its push; then the child, then what names it."""
    return [
        Op("head", 0, "C", 4, 1), Op("head", 0, b, 3, 2), Op("commit", 0, b, 3, 3), Op("put", 0, "C", 4, 1),
        Op("put", 0, top, None, refused, tags)]


MOUNT = [Op("mount", 1, "B", 2, 1), Op("commit", 1, "B", 2, 2), Op("put", 1, "C", None, 0, "t")]


def resume(r):
    return [Op("resume", r, "B", 1, 2), Op("put", r, "C", None, 3, "t"), Op("commit", r, "B", 1, 1), Op("head", r, "B", 1, 2)]


PROGRAMS = {
    "push": (push(), 0),
    "index": (push(), 4),
    # A refusal names the blob that a request has deleted, and the client pushes it.
    "push what is missing": (push(refused=1), 0),
    "index and what is missing": (push(refused=1), 4),
    "two tags": (push(tags="tu"), 4),
    "tag u": ([Op("put", 0, "C", None, None, "u")], 0),
    "push A": (push("A"), 0),
    "index A": (push("A"), 4),
    "head I": ([Op("head", 0, "I")], 0),
    "retag": ([Op("put", 0, "C", None, 1, "t"), Op("head", 0, "B", 0, 2), Op("commit", 0, "B", 0, 0)], 0),
    "mount": (MOUNT, 0),
    "resume": (resume(0), 0),
    "resume 1": (resume(1), 0),
    "restore": ([Op("restore", 0, "C", 1), Op("restore", 0, "I", 2, None, "t"), Op("forget", 0, "I")], 0),
    "expire": ([Op("forget", 0, "I")], 0),
    "commit B": ([Op("commit", 0, "B")], 0),
    "delete I": ([Op("delete manifest", 0, "I")], 0),
    "delete C": ([Op("delete manifest", 0, "C")], 0),
    "delete 1C": ([Op("delete manifest", 1, "C")], 0),
    "delete tag": ([Op("delete tag", 0, "I", tags="t")], 0),
    "delete B": ([Op("delete blob", 0, "B")], 0),
    # An index with a blob of its own.
    "index with blob": ([
        Op("head", 0, "C", 4, 1), Op("head", 0, "B", 3, 2), Op("commit", 0, "B", 3, 3), Op("put", 0, "C", 4, 1),
        Op("head", 0, "F", 6, 5), Op("commit", 0, "F", 6, 6), Op("put", 0, "I", None, 0, "t")], 0),
    # The entry of the index as a blob.
    "index of blob": ([
        Op("head", 0, "C", 2, 1), Op("commit", 0, "C", 2, 2), Op("put", 0, "I", None, 1, "t")], 0),
    # A referrer, and its subject.
    "referrer": ([Op("head", 0, "F", 2, 1), Op("commit", 0, "F", 2, 2), Op("put", 0, "R", None, 0)], 0),
    "subject": ([Op("head", 0, "B", 2, 1), Op("commit", 0, "B", 2, 2), Op("put", 0, "C", None, 0, "t")], 0),
}


class Case(NamedTuple):
    name: str
    programs: list
    disk: str
    options: dict


def case(name, programs, disk, **options):
    return Case(name, [PROGRAMS[program] for program in programs.split(", ")], disk, options)


WHOLE = "DI DC DB R0I R0C L0B t0I"
CHILD = "DC DB R0C L0B"  # an untagged manifest
IMAGE = CHILD + " t0C"
TWO = WHOLE + " R1C L1B t1C"
TRASHED = "DI DC DB X0I X0C L0B"
ALIAS = "DC DB R0C L0A L0B"
WITH_BLOB = "DI DC DB DF R0I R0C L0B L0F"
SIGNED = "DC DB DR DF R0C R0R L0B L0F"
SIGNATURE = "DR DF R0R L0F"
TWO_TAGS = "DI DC DB R0I R0C L0B t0I u0C"
# No faults of promises: without a grace period a push may be refused once.
SAFETY = ("1", "2", "4 ", "5", "6", "7 ", "8")
LOSS = ("1", "2")

GOOD = [
    case("push beside delete", "push, delete I", WHOLE),
    case("ci: push beside delete -m", "push, delete I", WHOLE, m=1),
    case("delete of a child -m", "index, delete C", WHOLE, m=1),
    case("ci: index on an untagged child -m", "index", CHILD, m=1, crashes=2, runs=3),
    case("two pushes -m", "push, index", CHILD, m=1),
    case("two equal pushes -m", "push, push", CHILD, m=1),
    case("ci: a tag moves, push -m", "retag, index", WHOLE, m=1),
    case("mount beside delete", "mount, delete C", IMAGE),
    case("ci: mount beside delete -m", "mount, delete C", IMAGE, m=1),
    case("mount of a dead image -m", "mount", CHILD, m=1, crashes=2, runs=3),
    case("shared content, both deleted", "delete C, delete 1C", TWO, m=1, crashes=2),
    case("shared content, push beside delete", "index, delete 1C", TWO, m=1),
    case("resumed commit beside mount", "resume, mount", "S DC DB L0B"),
    case("resumed commit beside delete", "resume, delete C", "S " + IMAGE),
    case("ci: resumed commit", "resume 1", "S", crashes=2, runs=3),
    case("restore", "restore", TRASHED, crashes=2, runs=3),
    case("restore -m", "restore", TRASHED, m=1, crashes=2, runs=3),
    case("restore, trash kept", "restore", TRASHED, m=1, trash=1, crashes=2, runs=3),
    case("restore beside push -m", "restore, index", TRASHED, m=1),
    case("ci: push of what was deleted, the trash is emptied -m", "push", TRASHED, m=1),
    case("ci: push of what was deleted beside the expiry of its records -m", "index, expire", TRASHED, m=1, trash=1),
    case("records expire beside delete -m", "expire, delete C", "DI DC DB X0I R0C L0B", m=1, trash=1),
    case("ci: restore beside delete, trash kept -m", "restore, delete C", "DI DC DB X0I R0C L0B", m=1, trash=1),
    case("blob deleted, push", "push what is missing, delete B", WHOLE),
    case("ci: blob deleted, index on a child", "index and what is missing, delete B", CHILD),
    case("tag deleted, push -m", "index, delete tag", WHOLE, m=1),
    case("unreadable manifest", "index", TWO, unread=1),
    case("unreadable manifest -m", "index", TWO, unread=1, m=1),
    # Time passes. Each push is shorter than the grace period.
    case("automatic, push", "push", CHILD, auto=1),
    case("ci: automatic, push -m", "push", CHILD, auto=1, m=1),
    case("automatic, mount beside delete", "mount, delete C", IMAGE, auto=1, crashes=0, runs=1),
    case("automatic, two pushes -m", "push, index", CHILD, auto=1, m=1, runs=1),
    case("automatic, restore beside delete", "restore, delete C", "DI DC DB X0I R0C L0B", auto=1, m=1, runs=1),
    # Power cuts.
    case("ci: power, push beside delete -m", "index, delete I", WHOLE, m=1, power=1),
    case("power, push -m", "push", CHILD, m=1, power=1, crashes=2, runs=3),
    case("power, mount beside delete", "mount, delete C", IMAGE, power=1, runs=1),
    case("power, a tag moves -m", "retag, index", WHOLE, m=1, power=1, runs=1),
    case("power, tag deleted -m", "delete tag, index", WHOLE, m=1, power=1, runs=2),
    case("power, blob pushed again", "commit B, index and what is missing", "DI DC DB R0C", power=1),
    case("power, resumed commit", "resume 1", "S", power=1, crashes=2, runs=3),
    # Failures of single removals, and runs that end early.
    case("ci: faults, push beside delete -m", "index, delete I", WHOLE, m=1, faults=1),
    case("faults, push -m", "push", CHILD, m=1, faults=1, runs=3),
    case("faults, restore beside delete, trash kept", "restore, delete C", "DI DC DB X0I R0C L0B", m=1, trash=1, faults=1, runs=1),
    case("faults and power, index -m", "index", CHILD, m=1, faults=1, power=1),
    # Safety rests on `since` alone: nothing else is spared, nothing counts as touched after an opening.
    case("ci: no grace, index on an untagged child -m", "index", CHILD, m=1, grace=0, opening=0, only=SAFETY),
    case("no grace, two pushes -m", "push, index", CHILD, m=1, grace=0, opening=0, only=SAFETY),
    case("no grace, a tag moves, faults -m", "retag, index", WHOLE, m=1, grace=0, opening=0, faults=1, only=SAFETY),
    case("no grace, mount beside delete -m", "mount, delete C", IMAGE, m=1, grace=0, opening=0, only=SAFETY),
    case("no grace, restore, trash kept -m", "restore, delete C", "DI DC DB X0I R0C L0B", m=1, trash=1, grace=0, only=SAFETY),
    case("no grace, power, push -m", "push", CHILD, m=1, grace=0, opening=0, power=1, only=SAFETY),
    # Three requests.
    case("three: two pushes and a delete -m", "push, index, delete I", WHOLE, m=1),
    case("three: mount, session, delete", "mount, resume, delete C", "S " + IMAGE, m=1, runs=1),
    # Other graphs.
    case("alias, push beside delete", "push A, delete C", ALIAS + " t0C", graph="alias", m=1),
    case("ci: alias, blob deleted by its own name", "index A, delete B", ALIAS, graph="alias", m=1),
    case("ci: index with a blob -m", "index with blob", WITH_BLOB, graph="blob", m=1),
    case("index with a blob, push beside delete -m", "index with blob, delete I", WITH_BLOB + " t0I", graph="blob", m=1),
    case("index with a blob, power -m", "index with blob", WITH_BLOB, graph="blob", m=1, power=1),
    case("ci: entry held as a blob -m", "index of blob", "DI DC R0I L0C", graph="entry", m=1),
    case("entry held as a blob and as a manifest -m", "index of blob, index", "DC DB R0C L0B L0C", graph="entry", m=1, runs=1),
    case("entry held as a blob, child deleted -m", "index of blob, delete C", "DC DB R0C L0B L0C", graph="entry", m=1),
    case("ci: tag at a manifest that is held as a blob -m", "index of blob", "DC L0C t0C", graph="entry", m=1),
    case("ci: referrer before its subject -m", "referrer, subject", "", graph="referrer", m=1, runs=1),
    case("ci: subject comes while its referrer is dead -m", "subject", SIGNATURE, graph="referrer", m=1, crashes=2),
    case("referrer pushed again beside delete -m", "referrer, delete C", SIGNED + " t0C", graph="referrer", m=1),
    case("ci: subject deleted and pushed again -m", "subject, delete C", SIGNED + " t0C", graph="referrer", m=1),
    case("referrer, faults -m", "subject", SIGNED, graph="referrer", m=1, faults=1),
    case("ci: two tags, one moves, the other is deleted -m", "tag u, delete tag", TWO_TAGS, graph="tags", m=1),
    case("two tags, both move -m", "two tags, tag u", TWO_TAGS, graph="tags", m=1),
    case("two tags, power -m", "two tags, delete tag", TWO_TAGS.replace("u0C", "u0I"), graph="tags", m=1, power=1, runs=1),
    # Digests of the same stripe.
    case("ci: stripes, index beside delete -m", "index, delete C", WHOLE, m=1, stripes=dict(I=0, C=0, B=1)),
    case("stripes, all the same -m", "push, delete I", WHOLE, m=1, stripes=dict(I=0, C=0, B=0)),
    # Closures that are known to be complete are not looked at again.
    case("ci: known closures, blob deleted", "push what is missing, delete B", "DB L0B", remember=1),
    case("known closures, push beside delete -m", "push, delete I", WHOLE, remember=1, m=1),
    case("known closures, no grace -m", "push, index", CHILD, remember=1, m=1, grace=0, only=SAFETY, runs=1),
    case("ci: dry run", "push, delete I", WHOLE, dry=1, exact=1, runs=1),
    case("dry run -m", "index, delete I", TWO, dry=1, exact=1, m=1, runs=1),
    case("dry run, trash kept -m", "index, delete I", TWO, dry=1, exact=1, m=1, trash=1, runs=1),
]

# Each of these must fail.
BAD = [
    case("ci: bad: looks before the section", "index", CHILD, m=1, look="outside", only=LOSS),
    case("ci: bad: looks at direct needs, a blob is deleted", "index, delete B", CHILD, deep=0, only=LOSS),
    case("ci: bad: HEAD of a manifest looks at nothing below, children first", "head I", "DI DC DB R0I R0C L0B", m=1,
         top_down=0),
    # A HEAD of the child does not say that its blob is gone, so a client that asks for nothing else is refused for ever.
    case("ci: bad: a client does not push what a refusal names", "index, delete B", CHILD, only=("7 ",)),
    case("ci: bad: does not wait for earlier sections", "mount, delete C", IMAGE, m=1, wait=0, only=LOSS),
    case("ci: bad: touches since the beginning are ignored", "index", CHILD, m=1, since=0, grace=0, only=LOSS),
    case("ci: bad: a release takes back a touch since the beginning", "retag, index", WHOLE, m=1, release_wins=1, only=LOSS),
    case("ci: bad: the emptied trash releases what was promised since the deletion", "push", TRASHED, m=1, forget_releases=1),
    case("ci: bad: an expired record releases what was promised since the deletion", "index, expire", TRASHED, m=1, trash=1,
         forget_releases=1),
    case("ci: bad: trash is listed before records", "restore, delete C", "DI DC DB X0I R0C L0B", m=1, trash=1, records_first=0),
    case("ci: bad: a record that a request deleted counts as removed", "delete C", IMAGE, trash=1, m=1, absent_stays=0, grace=0),
    case("ci: bad: the own trash records are no roots", "restore", CHILD + " X0I DI", trash=1, m=1, own_trash=0, grace=0),
    case("ci: bad: a dead manifest that stays is not marked", "head I", "DI DC DB R0I R0C L0B", m=1, minus_removed=0, deep=0,
         faults=1, grace=0),
    case("ci: bad: no settle between the levels", "push", CHILD, m=1, power=1, settle=0),
    case("ci: bad: one sync for data and record", "push", "DB L0B", power=1, ordered=0),
    case("ci: bad: a put makes only what it names durable", "commit B, index", "DI DC DB R0C", power=1, runs=1, sync_closure=0,
         only=LOSS),
    case("ci: bad: the target that a tag leaves is not held", "retag", WHOLE, m=1, power=1, runs=1, old_target=0),
    case("ci: bad: the target of a deleted tag is not held", "delete tag", WHOLE, m=1, power=1, runs=1, old_target=0, only=LOSS),
    case("ci: bad: an unreadable manifest is skipped", "index", TWO, unread=1, pins=0, only=LOSS),
    case("ci: bad: an unreadable manifest is skipped -m", "index", TWO, unread=1, pins=0, m=1, only=LOSS),
    case("ci: bad: lists survive a restart", "push", CHILD, m=1, survive=1, opening=0, only=LOSS),
    case("ci: bad: sessions are forgotten", "resume 1", "S", committing=0, auto=1, long_push=1),
    case("ci: bad: a push takes longer than the grace period", "push", "DB L0B", auto=1, long_push=1),
    case("ci: bad: data without a link is not visited", "push", "", bare=0),
    case("ci: bad: names are marked, not targets", "push A, delete C", ALIAS.replace(" L0B", "") + " t0C", graph="alias", m=1,
         alias_mark=0, alias_held=0, only=LOSS),
    case("ci: bad: blobs of an index are not marked", "index with blob", WITH_BLOB + " t0I", graph="blob", m=1, blob_entries=0,
         only=LOSS),
    case("ci: bad: a subject that comes does not keep its referrer", "subject", SIGNATURE, graph="referrer", m=1, subject=0),
    case("ci: bad: a known closure is not checked again under the locks", "push, delete B", "DB L0B", remember=1, check_stale=0,
         only=LOSS),
    case("ci: bad: a removal leaves what is known of the closures above", "push, delete B", "DB L0B", remember=1,
         invalidate="own", only=LOSS),
    case("ci: bad: a dry run does not take what it lists for gone", "delete I", WHOLE, dry=1, exact=1, m=1, runs=1, overlay=0,
         crashes=0),
]

STARTS = [TWO + " S", CHILD + " S", TRASHED + " R1C L1B t1C S"]
PUSHES = ["push", "index", "retag", "mount", "resume", "restore"]
DELETES = ["delete I", "delete C", "delete 1C", "delete B", "delete tag"]


def pairs(**options):
    """All pairs of two requests of which one pushes, from three disks, with and without -m."""
    for i, a in enumerate(PUSHES):
        for b in PUSHES[i:] + DELETES:
            for disk in STARTS:
                for m in (0, 1):
                    yield case(f"{a} + {b}", f"{a}, {b}", disk, m=m, **options)


GROUPS = {
    "pairs, explicit": dict(crashes=0, runs=1),
    "pairs, explicit, a restart": dict(crashes=1, runs=1),
    "pairs, explicit, trash kept": dict(crashes=0, runs=1, trash=1),
    "pairs, automatic": dict(crashes=0, runs=1, auto=1),
    "pairs, no grace": dict(crashes=0, runs=1, grace=0, only=SAFETY),
    "pairs, no grace, trash kept": dict(crashes=0, runs=1, grace=0, trash=1, only=SAFETY),
    "pairs, faults": dict(crashes=0, runs=1, faults=1),
    "pairs, power": dict(crashes=1, runs=1, power=1),
    "pairs, two runs": dict(crashes=0, runs=2),
}


def run(name, explore, is_good, verbose):
    """Prints what was explored. Returns the number of states, and false if it is not as expected."""
    start = time.process_time()
    count, fault, trace = explore()
    is_expected = (fault is None) == is_good
    print(f"{'ok  ' if is_expected else 'FAIL'} {count:8} {time.process_time() - start:7.1f} s  {name}", flush=True)
    if fault:
        print(f"       {fault}")
    if fault and (verbose or not is_expected):
        print("       " + " | ".join(trace))
    return count, is_expected


def run_pairs(name, options):
    """The same for all pairs of requests, in one line."""
    start, states, failed = time.process_time(), 0, 0
    for c in pairs(**options):
        count, fault, trace = Model(c).explore()
        states += count
        if fault:
            failed += 1
            print(f"FAIL {c.name} {c.options} {c.disk}\n       {fault}\n       " + " | ".join(trace), flush=True)
    seconds = time.process_time() - start
    print(f"{'FAIL' if failed else 'ok  '} {states:8} {seconds:7.1f} s  {name}", flush=True)
    return states, not failed


def main():
    names, verbose = [a for a in sys.argv[1:] if a != "-v"], "-v" in sys.argv
    cases = [(c.name, Model(c).explore, is_good) for is_good, part in ((True, GOOD), (False, BAD)) for c in part]
    cases += list(parts.cases())
    results = [run(name, explore, is_good, verbose) for name, explore, is_good in cases
               if not names or any(part in name for part in names)]
    results += [run_pairs(name, options) for name, options in GROUPS.items() if any(part in name for part in names)]
    failed = [is_expected for _, is_expected in results].count(False)
    states = sum(count for count, _ in results)
    print(f"{states} states, {time.process_time():.0f} s, {failed} not as expected")
    # A run of nothing has shown nothing.
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
