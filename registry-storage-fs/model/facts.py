"""Facts on disk as bits, and the states of the model."""

from typing import NamedTuple, Optional

GRACE = 2


class Graph:
    """Manifests with their needs, and a bit for every fact that may be on disk.

    D<d> data. R<r><m> record of a manifest. L<r><d> link of a blob. t<r><m>, u<r><m> tag. X<r><m> trash record.
    S an open session for B. K the same session after its bytes became data.
    """

    def __init__(self, needs, subjects=None, records=((0, "I"), (0, "C"), (1, "C")), blobs=((0, "B"), (1, "B")),
                 alias=None, tags="t"):
        self.needs, self.subjects, self.alias = needs, subjects or {}, alias or {}
        # Parents before children, subjects before referrers.
        self.records, self.links, self.tag_names = list(records), list(blobs), tags
        names = {d for _, d in self.records} | {self.target(d) for _, d in self.links}
        self.data = sorted(names, key="IRCBF".index)
        self.digests = sorted(names | set(self.alias), key="IRCBFA".index)
        facts = [f"D{d}" for d in self.data] + ["S", "K"]
        facts += [f"{kind}{r}{m}" for kind in "RX" + tags for r, m in self.records]
        facts += [f"L{r}{d}" for r, d in self.links]
        self.bit = {fact: 1 << i for i, fact in enumerate(facts)}
        self.slots = {(r, t): [(m, self.bit[f"{t}{r}{m}"]) for q, m in self.records if q == r]
                      for t in tags for r in (0, 1)}
        self.all_records = self.mask(f"R{r}{m}" for r, m in self.records)
        self.all_trash = self.mask(f"X{r}{m}" for r, m in self.records)
        self.all_tags = sum(b for slot in self.slots.values() for _, b in slot)
        self.missing = {}

    def mask(self, facts):
        return sum(self.bit[fact] for fact in facts)

    def facts(self, mask):
        return " ".join(fact for fact, b in self.bit.items() if mask & b)

    def get(self, fact):
        return self.bit.get(fact, 0)

    def target(self, d):
        return self.alias.get(d, d)

    def below(self, d):
        """Names of a closure: a manifest, what it needs, and what these need."""
        names = [d]
        for child in self.needs.get(d, ()):
            names += self.below(child)
        return names

    def lacks(self, disk, r, d):
        """Facts that are missing below a name, which a repository may hold as a manifest or as a blob."""
        known = self.missing.get((disk, r, d))
        if known is not None:
            return known
        link = self.get(f"L{r}{d}")
        record = self.get(f"R{r}{d}")
        data = self.bit[f"D{self.target(d)}"]
        if disk & link and disk & data:
            lacks = 0
        elif record and disk & record or not link:
            lacks = (record | data) & ~disk
            for child in self.needs[d]:
                lacks |= self.lacks(disk, r, child)
        else:
            lacks = (link | data) & ~disk
        self.missing[disk, r, d] = lacks
        return lacks

    def marks(self, r, m, alias=True):
        """Data and links that a record keeps: its bytes, and the bytes and links of what it needs."""
        marks = self.bit[f"D{m}"]
        for child in self.needs[m]:
            marks |= self.get(f"L{r}{child}")
            marks |= self.get(f"D{self.target(child) if alias else child}")
        return marks

    def tags_of(self, r, m):
        return self.mask(f"{t}{r}{m}" for t in self.tag_names)

    def records_of(self, r):
        return self.mask(f"R{q}{m}" for q, m in self.records if q == r)

    def is_named(self, records, r, m):
        """True if a record of the repository names a manifest, or is the subject of it."""
        parents = [p for p, needs in self.needs.items() if m in needs]
        parents += [self.subjects[m]] if m in self.subjects else []
        return any(records & self.get(f"R{r}{p}") for p in parents)


CHAIN = dict(needs={"I": "C", "C": "B"})
GRAPHS = {
    "chain": Graph(**CHAIN),
    "alias": Graph({"I": "C", "C": "A"}, blobs=((0, "B"), (1, "B"), (0, "A")), alias={"A": "B"}, records=((0, "I"), (0, "C"))),
    # The index names a blob of its own, beside a manifest.
    "blob": Graph({"I": "CF", "C": "B"}, records=((0, "I"), (0, "C")), blobs=((0, "B"), (0, "F"))),
    # The entry of the index is held as a manifest, as a blob, or as both.
    "entry": Graph({"I": "C", "C": "B"}, records=((0, "I"), (0, "C")), blobs=((0, "B"), (0, "C"))),
    "referrer": Graph({"C": "B", "R": "F"}, subjects={"R": "C"}, records=((0, "C"), (0, "R")), blobs=((0, "B"), (0, "F"))),
    "tags": Graph({"I": "C", "C": "B"}, records=((0, "I"), (0, "C")), blobs=((0, "B"),), tags="tu"),
}


class Client(NamedTuple):
    op: Optional[int] = None  # None: the requests have ended
    step: int = 0  # 0: outside of a section
    excused: int = 0  # a deletion or the move of a tag may have removed what was promised
    age: int = 0  # of the push
    early: int = 0  # the section began before the run
    promised: int = 0  # the push was told that content exists
    held: int = 0  # stripes of manifests that tags leave, until the section ends
    trusts: int = 0  # closures that are known to be complete are not looked at
    stale: int = 0  # something was removed since the closure was read


class Run(NamedTuple):
    pc: int = 0
    listed: int = 0  # records, links, without those that this run removed
    roots: int = 0  # data and links of trash and sessions
    damaged: int = 0  # records that cannot be read
    report: int = 0
    calm: int = 0  # no client was active at the beginning


class State(NamedTuple):
    disk: int
    durable: int
    idle: tuple  # by digest
    since: int  # digests that were touched since the run began
    whole: int  # records whose closure is known to be complete
    run: Optional[Run]
    clients: tuple
    acked: int  # records that were acknowledged and not deleted
    tagged: int  # tags that were acknowledged and not deleted
    spoiled: int  # records whose closure a request has deleted a part of
    kept: int  # trash records that were whole when they were written
    crashes: int = 0
    runs: int = 0


class Op(NamedTuple):
    kind: str
    r: int
    d: str
    yes: Optional[int] = None  # next request after success, and after the refusal
    no: Optional[int] = None
    tags: str = ""
    source: int = 0


# Options of a case.
SITUATION = dict(
    graph="chain",
    m=0,  # untagged manifests are removed
    auto=0,  # a run that nobody asked for: time passes, and releases count for nothing
    trash=None,  # the trash is kept; by default, in automatic runs
    grace=1,  # content that was touched in the grace period stays
    opening=1,  # after an opening everything counts as touched
    dry=0,
    exact=0,  # what a dry run lists is compared with what a run removes
    power=0,  # a crash is a power cut
    faults=0,  # removals fail, and runs end early
    unread=0,  # the bytes of a manifest cannot be read
    crashes=1,  # at most
    runs=2,  # at most
    giveup=1,  # a client may not come back after a crash
    remember=0,  # complete closures are known, and not looked at again
    stripes=None,  # numbers of stripes by digest; by default, each digest has its own
    only=None,  # faults that count, by their beginnings
)
# The protocol. A variant changes one of these.
PROTOCOL = dict(
    look="inside",  # a put looks for content in its section, not before
    deep=1,  # at the whole closure
    head_deep=0,  # a HEAD of a manifest locks its whole closure and looks at it, not only at the manifest
    head_touches_all=0,  # it touches its whole closure, not only the manifest and what that names
    wait=1,  # a run waits for the sections that began before
    since=1,  # what was touched since stays
    release_wins=0,  # not so if it was released since
    top_down=1,  # parents are removed before children
    minus_removed=1,  # only records that the run has removed are not marked
    absent_stays=1,  # a record that a request has deleted is marked
    own_trash=1,  # the trash records of the run are roots
    records_first=1,  # records are listed before the trash
    settle=1,  # removals are durable before the next level
    sync_closure=1,  # a put makes its whole closure durable, not only what it names
    ordered=1,  # data is durable before the record, and the record before the tag
    old_target=1,  # a section that moves or deletes a tag holds what the tag leaves
    pins=1,  # a manifest that cannot be read keeps everything in its repository
    survive=0,  # lists survive a restart
    committing=1,  # a session that is committing keeps its data
    bare=1,  # data without a link is visited
    alias_mark=1,  # targets are marked
    alias_held=1,  # a link holds its target
    blob_entries=1,  # blobs of an index are marked
    subject=1,  # a referrer stays if its subject was touched since
    overlay=1,  # a dry run takes what it lists for gone
    forget_releases=0,  # a record that is forgotten releases what it kept, also what was touched since the deletion
    invalidate="above",  # a removal makes void what is known of the closures that contain the item; "own": of its own only
    check_stale=1,  # what is known of closures is checked under the locks
    long_push=0,  # a push may take longer than the grace period
)
