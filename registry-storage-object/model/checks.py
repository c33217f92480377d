"""What holds in every state, time, and how runs end."""

from facts import F, NOBODY, SECTION, Client, Collector


class Checks:
    """The part of the model that lets time pass, and looks at states."""

    def tick(self, s):
        """Time passes. Messages that have not taken effect until F are lost."""
        alive, dead = [], set()
        for m in s.messages:
            if m.timer + 1 > F + self.v["late"]:
                dead.add(m.owner)
            else:
                alive.append(m._replace(timer=m.timer + 1))
        dead -= {m.owner for m in alive}
        after = s._replace(
            messages=tuple(sorted(alive)),
            dying=tuple(max(0, ticks - 1) for ticks in s.dying),
            age=min(s.age + 1, self.v["D"]) if s.listed else 0,
            clients=tuple(self.aged(i, c) for i, c in enumerate(s.clients)),
            collectors=tuple(self.waited(k) for k in s.collectors))
        for owner in dead:
            if owner >= 10:
                after = self.unclear(after, owner - 10, after.collectors[owner - 10])
            elif owner >= 0:
                after = self.to(after, owner, self.restart(owner, after.clients[owner]))
        if after != s:
            yield "time passes", after

    def aged(self, i, c):
        """The view of a client grows old until the last message that depends on it."""
        if not self.v["fence"] or c.op is None or c.step in ("view", "own", "away", "again"):
            return c
        if self.programs[i][0][c.op].kind not in ("commit", "mount", "put", "restore", "delete manifest"):
            return c
        return c._replace(age=min(c.age + 1, SECTION + F + 1))

    def waited(self, k):
        is_in_batch = k.step in ("rescued", "check", "send", "sent") and self.v["fence_delete"]
        return k._replace(clock=min(k.clock + 1, F + 1)) if is_in_batch else k

    def broken(self, s):
        found = self.faults.get((s.disk, s.tagged, s.spoiled, s.kept))
        if found is None:
            found = self.faults[s.disk, s.tagged, s.spoiled, s.kept] = self.fault(s) or ""
        return found

    def fault(self, s):
        g = self.g
        for n, (name, slot) in enumerate(g.slots.items()):
            targets = [f for f in g.records if s.disk & slot & g.get(name[0] + f)]
            if s.tagged >> n & 1 and not targets:
                return f"3 the acknowledged tag {name} is gone"
            for f in targets:
                lacks = g.lacks(s.disk, f[0], f[1])
                if lacks and not s.spoiled & g.bit[f"R{f}"]:
                    return f"{1 if s.tagged >> n & 1 else 2} tag {name} -> {f[1]} lacks {g.facts(lacks)}"
        for f in g.records:
            if s.kept & g.bit[f"X{f}"]:
                lacks = g.marks(f[0], f[1]) & ~g.of_kind["R"] & ~s.disk
                if lacks:
                    return f"4 the trash record {f} stands, {g.facts(lacks)} is gone"
        return None

    def removal_fault(self, s, after):
        """A removal of a referrer whose subject is tagged."""
        g = self.g
        for f in g.records:
            subject = g.subjects.get(f[1])
            gone = s.disk & ~after.disk & g.bit[f"R{f}"]
            if gone and subject and any(
                    s.tagged >> n & 1 and s.disk & slot & g.get(f"{name[0]}{f[0]}{subject}")
                    for n, (name, slot) in enumerate(g.slots.items())):
                return f"8 the referrer {f} goes although its subject is tagged"
        return None

    def rest_fault(self, s):
        """A tag without its record, after everything has come to an end."""
        if s.messages or any(c.op is not None for c in s.clients):
            return None
        for f in self.g.records:
            if s.disk & self.g.tags_of(f) and not s.disk & self.g.bit[f"R{f}"]:
                return f"2 a tag without the record {f} stays"
        return None

    def settled(self, states, pushes):
        """Returns a state from which a single collector, and with `pushes` the clients, do not come to an end."""
        good = set()
        for s in states:
            path = []
            s = s._replace(
                rescued=s.rescued + (0,) * 5, holder=0, collectors=(Collector("start"),), spare=(0, 0),
                clients=tuple(c._replace(lost=0) if pushes else Client() for c in s.clients),
                messages=tuple(sorted(
                    m._replace(owner=NOBODY) if m.owner >= 10 or m.owner >= 0 and not pushes else m for m in s.messages)))
            first = s
            for turn in range(900):
                if s in good:
                    break
                path.append(s)
                if self.is_quiet(s):
                    break
                following = self.fair_step(s, turn)
                if following is None:
                    return first
                s = following
            else:
                return first
            good.update(path)
        return None

    def is_quiet(self, s):
        """Nothing is left to do, and there is no garbage."""
        ended = all(c.op is None for c in s.clients)
        return ended and not s.messages and not any(s.rescued) and not s.listed and not self.garbage(s.disk)

    def garbage(self, disk):
        """Keys that neither tags nor trash records reach."""
        g, kept = self.g, 0
        for f in g.records:
            if disk & g.tags_of(f):
                kept |= self.reached(f[0], f[1])
            if disk & g.bit[f"X{f}"]:
                kept |= g.marks(f[0], f[1]) & ~g.of_kind["R"]
        return disk & g.victims & ~kept

    def reached(self, r, m):
        g = self.g
        kept = g.marks(r, m)
        for child in g.needs[m]:
            kept |= self.reached(r, child) if child in g.needs else 0
        for f in g.records:
            if f[0] == r and g.subjects.get(f[1]) == m:
                kept |= self.reached(r, f[1])
        return kept

    def fair_step(self, s, turn):
        """Messages first, then the collector and the clients in turn, and at times the clock."""
        for _, state in self.land(s):
            return state
        if turn % 12 == 0:
            for _, state in self.tick(s):
                return state
        actors = [lambda: self.turn(s, 0)]
        actors += [lambda i=i: self.requests(s, i) for i in range(len(s.clients))]
        for n in range(len(actors)):
            for _, state in actors[(turn + n) % len(actors)]():
                return state
        for _, state in self.tick(s):
            return state
        return None
