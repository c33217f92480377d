"""What holds in every state, and what a run alone does."""

from facts import GRACE, Client


class Checks:
    """The part of the model that ends the process, and looks at states."""

    def ticks(self, s):
        """Time passes. A push is shorter than the grace period."""
        if not self.v["auto"]:
            return
        if not self.v["long_push"] and any(c.op is not None and c.age >= GRACE - 1 for c in s.clients):
            return
        idle = tuple(min(GRACE, x + 1) for x in s.idle)
        clients = tuple(c if c.op is None else c._replace(age=min(GRACE, c.age + 1)) for c in s.clients)
        if (idle, clients) != (s.idle, s.clients):
            yield "time passes", s._replace(idle=idle, clients=clients), None

    def crash(self, s):
        """The process ends. Each client tries again, or gives up."""
        v, g = self.v, self.g
        if s.crashes >= v["crashes"]:
            return
        disks = [s.disk]
        if v["power"]:
            # A tag moves by one rename.
            slots = [sum(b for _, b in slot) for slot in g.slots.values()]
            lost = unsynced = s.disk ^ s.durable
            disks = []
            while True:
                if all(lost & slot in (0, unsynced & slot) for slot in slots):
                    disks.append(s.disk ^ lost)
                if not lost:
                    break
                lost = (lost - 1) & unsynced
        again = tuple(c if c.op is None else self.at(c, c.op) for c in s.clients)
        if v["power"]:
            # A lookup may have found what was not durable.
            again = tuple(c._replace(promised=0) for c in again)
        choices = [again]
        if v["giveup"]:
            for i, c in enumerate(again):
                choices += [x[:i] + (Client(),) + x[i + 1:] for x in choices if c.op is not None and x[i].op is not None]
        idle = (0 if v["opening"] else GRACE,) * len(s.idle)
        run = s.run if v["survive"] and s.run and s.run.pc > self.program.index(("settle",)) else None
        for disk in disks:
            label = "CRASH" + (f", lost {g.facts(s.disk ^ disk)}" if disk != s.disk else "")
            for clients in choices:
                yield label, s._replace(
                    disk=disk, durable=disk if v["power"] else 0, idle=idle, since=0, whole=0, run=run, clients=clients,
                    crashes=s.crashes + 1), None

    def broken(self, s):
        g = self.g
        for i, ((r, t), slot) in enumerate(g.slots.items()):
            target = [m for m, b in slot if s.disk & b]
            if s.tagged >> i & 1 and not target:
                return f"1 the acknowledged tag {t} of repository {r} is gone"
            for m in target:
                lacks = g.lacks(s.disk, r, m)
                if lacks and not s.spoiled & g.bit[f"R{r}{m}"]:
                    return f"{1 if s.tagged >> i & 1 else 2} tag {t}{r} -> {m} lacks {g.facts(lacks)}"
        for r, m in g.records:
            if s.acked & g.bit[f"R{r}{m}"] and not self.v["m"]:
                lacks = g.lacks(s.disk, r, m)
                if lacks:
                    return f"1 the acknowledged manifest {r}/{m} lacks {g.facts(lacks)}"
            if s.disk & s.kept & g.bit[f"X{r}{m}"]:
                lacks = self.trash_marks(r, m) & ~s.disk
                lacks &= ~g.mask(f"L{r}{n}" for n in g.needs[m] if n in g.needs and f"L{r}{n}" in g.bit)
                if lacks:
                    return f"4 the trash record {r}/{m} stands, {g.facts(lacks)} is gone"
        return None

    def reachable(self, disk):
        """What a run leaves of a disk without trash and sessions, found without levels."""
        g = self.g
        records = disk & g.all_records
        if self.v["m"]:
            alive = g.mask(f"R{r}{m}" for r, m in g.records if disk & g.tags_of(r, m)) & records
            while True:
                more = alive | g.mask(
                    f"R{r}{m}" for r, m in g.records if records & g.bit[f"R{r}{m}"] and g.is_named(alive, r, m))
                if more == alive:
                    break
                alive = more
            records = alive
        kept = records | disk & g.all_tags
        for r, m in g.records:
            if records & g.bit[f"R{r}{m}"]:
                kept |= g.marks(r, m)
            if disk & g.tags_of(r, m):
                kept |= g.bit[f"D{m}"] | g.get(f"L{r}{m}")
        return kept & disk

    def quiet_run(self, s):
        """A run alone: the trash and sessions have expired, the grace period is over."""
        g = self.g
        disk = s.disk & ~(g.all_trash | g.bit["S"] | g.bit["K"])
        s = s._replace(
            disk=disk, durable=disk if self.v["power"] else 0, idle=(GRACE,) * len(s.idle), since=0, run=None, crashes=99)
        while True:
            s = next(self.collect(s, final=True))[1]
            if s.run is None:
                break
        wanted = self.reachable(disk)
        if s.disk != wanted:
            return f"5 a quiet run leaves {g.facts(s.disk & ~wanted)}, removes {g.facts(wanted & ~s.disk)}"
        return None

    def real_run(self, s):
        """What a run removes that begins where a dry run did."""
        s = s._replace(run=None, since=0, runs=-9)
        self.v["dry"] = 0
        while True:
            state = next(self.collect(s))[1]
            if state.run is None:
                break
            s = state
        self.v["dry"] = 1
        return s.run.report

    def dry_fault(self, s, state, label):
        if not self.v["dry"] or not label.startswith("run: "):
            return None
        if state.disk != s.disk:
            return "6 a dry run writes"
        if label == "run: ends" and self.v["exact"] and s.run.calm and not s.crashes:
            removes = self.real_run(s)
            if removes != s.run.report:
                return f"6 a dry run lists {self.g.facts(s.run.report)}, a run removes {self.g.facts(removes)}"
        return None
