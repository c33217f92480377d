"""The protocol as a state machine, and its exploration."""

from collections import deque

from checks import Checks
from clients import Clients
from collector import Collector
from facts import GRACE, GRAPHS, PROTOCOL, SITUATION, Client, State


class Model(Clients, Collector, Checks):
    """A case: what is on disk, what clients do, and the steps of a run."""

    def __init__(self, case):
        self.case, self.v = case, {**SITUATION, **PROTOCOL, **case.options}
        v = self.v
        self.g = GRAPHS[v["graph"]]
        self.programs = case.programs
        if v["trash"] is None:
            v["trash"] = v["auto"]  # an explicit run empties the trash
        stripes = v["stripes"] or {}
        self.stripe = {d: 1 << stripes.get(d, i) for i, d in enumerate(self.g.digests)}
        self.number = {d: i for i, d in enumerate(self.g.digests)}
        g = self.g
        manifests = g.records if v["top_down"] else g.records[::-1]
        lists = [("list", 0), ("list", 1), ("roots",)]
        self.program = [("begin",), ("wait",), ("empty",)]
        self.program += lists if v["records_first"] else lists[::-1]
        for item in manifests:
            self.program += [("manifest", *item), ("remove", *item)]
        self.program += [("settle",)] + [("link", *item) for item in g.links]
        self.program += [("settle",)] + [("data", d) for d in g.data] + [("settle",), ("end",)]

    def initial(self):
        g, v = self.g, self.v
        disk = g.mask(self.case.disk.split())
        broken = g.mask(f"R{r}{m}" for r, m in g.records if g.lacks(disk, r, m))
        kept = g.mask(f"X{r}{m}" for r, m in g.records if not self.trash_marks(r, m) & ~disk)
        clients = tuple(Client(op=start) for start in [p[1] for p in self.programs])
        return State(
            disk, disk if v["power"] else 0, (GRACE,) * len(g.digests), 0, 0, None, clients,
            disk & g.all_records & ~broken, self.slots_in(disk), broken, kept & disk)

    def slots_in(self, disk):
        return sum(1 << i for i, slot in enumerate(self.g.slots.values()) if any(disk & b for _, b in slot))

    def keys(self, *names):
        keys = 0
        for d in names:
            keys |= self.stripe[d]
        return keys

    def closure(self, d):
        """Names and targets of a closure, which a put relies on."""
        names = self.g.below(d)
        return names + [self.g.target(n) for n in names]

    def named(self, d):
        """A manifest and what it names, with targets: all that a HEAD knows of without reading more."""
        names = [d, *self.g.needs.get(d, ())]
        return names + [self.g.target(n) for n in names]

    def section(self, op, client):
        """Shared and exclusive stripes that a client holds."""
        if client.op is None or client.step == 0:
            return 0, 0
        if op.kind == "put" or op.kind == "restore":
            return (self.keys(*self.closure(op.d)) | client.held, 0) if client.step >= 2 else (0, 0)
        if op.kind == "delete manifest":
            return 0, self.keys(op.d)
        if op.kind == "delete tag":
            return client.held, 0
        return self.keys(op.d, self.g.target(op.d)), 0

    def locks(self, s, skip):
        """Shared and exclusive stripes that everybody but a client or the collector holds."""
        shared = exclusive = 0
        for i, client in enumerate(s.clients):
            if i != skip and client.op is not None:
                a, b = self.section(self.programs[i][0][client.op], client)
                shared, exclusive = shared | a, exclusive | b
        if skip != "run" and s.run is not None and self.program[s.run.pc][0] == "remove":
            exclusive |= self.keys(self.program[s.run.pc][2])
        return shared, exclusive

    def touch(self, s, names):
        idle, since = list(s.idle), s.since
        for d in names:
            idle[self.number[d]] = 0
            if s.run is not None:
                since |= 1 << self.number[d]
        return dict(idle=tuple(idle), since=since)

    def release(self, s, names):
        """After a deletion or the move of a tag: an explicit run need not wait for the grace period."""
        if self.v["auto"]:
            return {}
        idle, since = list(s.idle), s.since
        for d in names:
            idle[self.number[d]] = GRACE
            if self.v["release_wins"]:
                since &= ~(1 << self.number[d])
        return dict(idle=tuple(idle), since=since)

    def release_trash(self, s):
        """What records name that are forgotten now: the deletion has released it, and nothing else does."""
        if not self.v["forget_releases"]:
            return {}
        names = [n for r, m in self.g.records if s.disk & self.g.bit[f"X{r}{m}"] for n in self.closure(m)]
        return self.release(s, names)

    def removed(self, s, d, clients):
        """A removal makes void what is known of the complete closures that contain the item."""
        if not self.v["remember"]:
            return dict(clients=clients)
        names = [m for m in self.g.needs if d in (self.closure(m) if self.v["invalidate"] == "above" else [m])]
        whole = s.whole & ~self.g.mask(f"R{r}{m}" for r, m in self.g.records if m in names)
        clients = tuple(
            c._replace(stale=1) if c.op is not None and self.programs[i][0][c.op].d in names else c
            for i, c in enumerate(clients))
        return dict(clients=clients, whole=whole)

    def excuse(self, clients):
        return tuple(c._replace(excused=1) if c.op is not None else c for c in clients)

    def explore(self, limit=3_000_000):
        """Returns the number of states, the fault, and the trace to it."""
        first = self.initial()
        number, order, parents, edges = {first: 0}, [first], [(-1, "")], []
        only = self.v["only"]
        ended = []

        def trace(n, last):
            labels = [last] if last else []
            while n > 0:
                labels.append(parents[n][1])
                n = parents[n][0]
            return labels[::-1]

        for n, s in enumerate(order):
            fault = self.broken(s)
            if fault:
                return len(order), fault, trace(n, None)
            clients = s.clients
            steps = [step for i in range(len(clients)) for step in self.requests(s, i)] + list(self.collect(s))
            if all(c.op is None for c in clients):
                ended.append(n)
                fault = self.quiet_run(s) if s.run is None else None
                if fault and not (only and not fault.startswith(only)):
                    return len(order), fault, trace(n, None)
            elif not steps:
                return len(order), "7 deadlock", trace(n, None)
            out = []
            for label, state, fault in steps + list(self.ticks(s)) + list(self.crash(s)):
                fault = fault or self.dry_fault(s, state, label)
                if fault and not (only and not fault.startswith(only)):
                    return len(order), fault, trace(n, label)
                if state not in number:
                    number[state] = len(order)
                    order.append(state)
                    parents.append((n, label))
                out.append(number[state])
            edges.append(out)
            if len(order) > limit:
                return len(order), "too many states", []
        stuck = unreached(edges, ended)
        if stuck is not None:
            return len(order), "7 a request can never end", trace(stuck, None)
        return len(order), None, []


def unreached(edges, ends):
    """Returns a state from which none of `ends` can be reached."""
    back = [[] for _ in edges]
    for a, out in enumerate(edges):
        for b in out:
            back[b].append(a)
    reached, queue = set(ends), deque(ends)
    while queue:
        for a in back[queue.popleft()]:
            if a not in reached:
                reached.add(a)
                queue.append(a)
    return next((n for n in range(len(edges)) if n not in reached), None)
