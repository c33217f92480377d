"""Keys of the bucket as bits, and the states of the model."""

from typing import NamedTuple, Optional

# Ticks. A url of a publishing write is valid for T + L from the Date of the view, and the store acts at most F later.
SECTION, F = 2, 1


class Graph:
    """Manifests with their needs, and a bit for every key that may lie in the bucket.

    D<d> data. R<r><m> record of a manifest. L<r><d> link of a blob. t<r><m>, u<r><m> tag. X<r><m> trash record.
    """

    def __init__(self, needs, records, links, subjects=None, tags="t", batches=("R", "L", "D")):
        self.needs, self.subjects, self.tag_names = needs, subjects or {}, tags
        # Parents before children, subjects before referrers: the order of removals in a batch.
        self.records, self.links = records.split(), links.split()
        names = {f[1] for f in self.records} | {f[1] for f in self.links}
        self.digests = sorted(names, key="IRCBF".index)
        facts = [f"{kind}{f}" for kind in "R" for f in self.records] + [f"L{f}" for f in self.links]
        facts += [f"D{d}" for d in self.digests]
        facts += [f"{kind}{f}" for kind in tags + "X" for f in self.records]
        self.bit = {fact: 1 << i for i, fact in enumerate(facts)}
        self.victims = self.mask(f for f in facts if f[0] in "RLD")
        self.slots = {t + r: self.mask(f"{t}{f}" for f in self.records if f[0] == r) for t in tags for r in "01"}
        self.slots = {name: mask for name, mask in self.slots.items() if mask}
        self.of_kind = {k: self.mask(f for f in facts if f[0] == k) for k in "RLDX" + tags}
        self.all_tags = sum(self.slots.values())
        self.batches = [self.mask(f for f in facts if any(f.startswith(b) for b in batch.split("+"))) for batch in batches]
        # Digests as bits of their own, and the keys that bear a digest.
        self.number = {d: 1 << i for i, d in enumerate(self.digests)}
        self.keys_of = {d: self.mask(f for f in facts if f[0] in "RLD" and f[-1] == d) for d in self.digests}
        self.cache = {}

    def mask(self, facts):
        return sum(self.bit[fact] for fact in facts)

    def get(self, fact):
        return self.bit.get(fact, 0)

    def facts(self, mask):
        return " ".join(fact for fact, b in self.bit.items() if mask & b) or "nothing"

    def below(self, m):
        names = [m]
        for child in self.needs.get(m, ""):
            names += self.below(child)
        return names

    def lacks(self, disk, r, m):
        """Keys that are missing below a name of a repository."""
        if m not in self.needs:
            return (self.bit[f"L{r}{m}"] | self.bit[f"D{m}"]) & ~disk
        lacks = (self.bit[f"R{r}{m}"] | self.bit[f"D{m}"]) & ~disk
        for child in self.needs[m]:
            lacks |= self.lacks(disk, r, child)
        return lacks

    def is_there(self, disk, r, d):
        keys = self.bit[f"R{r}{d}" if d in self.needs else f"L{r}{d}"] | self.bit[f"D{d}"]
        return disk & keys == keys

    def marks(self, r, m):
        """Keys that a record keeps: its bytes, and the records, links and data of what it needs."""
        marks = self.get(f"R{r}{m}") | self.bit[f"D{m}"]
        for child in self.needs[m]:
            marks |= self.get(f"R{r}{child}") | self.get(f"L{r}{child}") | self.bit[f"D{child}"]
        return marks

    def with_digests(self, digests):
        """Keys that bear one of these digests."""
        return sum(keys for d, keys in self.keys_of.items() if self.number[d] & digests)

    def tags_of(self, f):
        return self.mask(f"{t}{f}" for t in self.tag_names)


GRAPHS = {
    "chain": Graph({"I": "C", "C": "B"}, "0I 0C", "0B"),
    "levels": Graph({"I": "C", "C": "B"}, "0I 0C", "0B", batches=("R0I", "R0C", "L", "D")),
    "index": Graph({"I": "C", "C": ""}, "0I 0C", ""),
    "manifest": Graph({"C": ""}, "0C", "", batches=("R", "D")),
    "nested": Graph({"I": "C", "C": "F", "F": ""}, "0I 0C 0F", "", batches=("R", "D")),
    "nested levels": Graph({"I": "C", "C": "F", "F": ""}, "0I 0C 0F", "", batches=("R0I", "R0C", "R0F", "D")),
    "image": Graph({"C": "B"}, "0C", "0B"),
    "two tags": Graph({"C": "B"}, "0C", "0B", tags="tu"),
    "two images": Graph({"I": "B", "C": "B"}, "0I 0C", "0B"),
    "repositories": Graph({"C": "B"}, "0C 1C", "0B 1B"),
    "referrer": Graph({"C": "", "R": ""}, "0R 0C", "", subjects={"R": "C"}),
}


class Op(NamedTuple):
    kind: str
    r: str
    d: str
    yes: Optional[int] = None  # next request after success, and after the answer that content is absent
    no: Optional[int] = 0
    tags: str = ""
    source: str = "0"


class Client(NamedTuple):
    op: Optional[int] = None  # None: the requests have ended
    step: str = "view"
    epoch: int = 0  # as in the view
    victims: int = 0
    age: int = 0  # of the view
    lost: int = 0  # answers that may still get lost
    tag: int = 0  # of the op: number of the tag that it moves


class Collector(NamedTuple):
    step: str = "off"
    batch: int = 0
    epoch: int = 0
    listed: int = 0  # the list of the epoch
    seen: int = 0  # keys that the present listing has found
    victims: int = 0  # of the batch
    clock: int = 0
    lost: int = 0


class Message(NamedTuple):
    kind: str  # "put", "delete", "tag"
    keys: int
    owner: int  # number of a client, of a collector + 10, NOBODY or ANSWERED
    timer: int
    slot: int = 0  # of a tag
    expected: int = 0


NOBODY, ANSWERED = -1, -2


class State(NamedTuple):
    disk: int
    epoch: int
    listed: int  # 0: idle
    holder: int
    rescued: tuple  # digests, by epoch
    dying: tuple  # ticks for which marks of removals stand, by batch
    age: int  # of the list
    messages: tuple
    clients: tuple
    collectors: tuple
    tagged: int = 0  # slots that were acknowledged, and not deleted
    untagged: int = 0  # slots that a request has deleted
    spoiled: int = 0  # records that a request has deleted, or a part of their closure
    kept: int = 0  # trash records that were acknowledged
    remembered: int = 0  # digests that replicas have rescued, 8 bits for each epoch
    spare: tuple = ()  # what may still go wrong: doubled messages, keys that a listing omits


# Options of a case.
SITUATION = dict(
    graph="image",
    collectors=1,
    epochs=1,
    D=4,
    lost=0,  # answers that each actor may lose
    doubled=0,  # messages that take effect twice
    omits=0,  # keys that single listings omit
    hidden=0,  # keys that every listing omits
    slow=0,  # a listing takes several steps
    trash=0,  # removals and deletions write trash records
    unread=0,  # the bytes of a record cannot be read
    late=0,  # ticks beyond F that a message may live
    late_data=0,  # data is a message, too
    ends=0,  # runs end, and leave no garbage
    only=None,  # faults that count, by their beginnings
)
# The protocol. A variant changes one of these.
PROTOCOL = dict(
    rescues=1,  # a promise of what is condemned writes a key first
    dying_check=1,  # then looks for marks of removals that are going on
    fence=1,  # publishing writes expire T + L after the view
    fence_delete=1,  # a DELETE expires F after the date of its batch
    check=1,  # the state is read between that date and the DELETE
    one=1,  # the holder is a part of the state
    stands=1,  # the mark of a batch stands until its urls have expired, not until the last answer
    end_waits=1,  # a run does not end while a mark stands
    successor_waits=1,  # for D since the list was published
    remembers="no",  # what a replica has rescued is not rescued again, once it has "looked" for marks, or "at once"
    lift=0,  # a time-out counts as an answer
    retry=0,  # the client library sends a DELETE again
    again="once",  # marks again after D; or before "each" batch; or not at all, ""
    survivors=1,  # records that are not listed, and those that outlived their batch, are roots
    closure=1,  # what is rescued is dropped with all that it refers to
    records_first=1,  # a listing reads records before the trash
    pins=1,  # a record that cannot be read keeps its repository
    watch=1,  # the subject of a referrer on the list counts as condemned
    subjects=1,  # a subject that lives keeps its referrers
    trash_promises=1,  # a deletion promises what its trash record keeps
    own_trash=1,  # removals of collectors write trash records, too
    twice=1,  # the union of two listings
    sweep=1,  # keys of every old epoch are removed
    tags_again=1,  # a deletion lists the tags again after its DELETE
)
