"""A run of the collector. Each step is a function that yields (label, next state, fault)."""

from facts import GRACE, Run


class Collector:
    """The part of the model that removes."""

    def trash_marks(self, r, m):
        return self.g.marks(r, m)

    def trash_roots(self, disk):
        roots = 0
        for r, m in self.g.records:
            if disk & self.g.bit[f"X{r}{m}"]:
                roots |= self.trash_marks(r, m)
        return roots

    def marks(self, s):
        """Data and links that the listed records need, that tags name, and that are roots."""
        marks = s.run.roots
        for r, m in self.g.records:
            if s.run.listed & self.g.bit[f"R{r}{m}"] & ~(s.run.damaged if not self.v["pins"] else 0):
                marks |= self.record_marks(r, m)
        for r, m in self.g.records:
            if s.run.listed & self.g.tags_of(r, m):
                marks |= self.g.bit[f"D{m}"] | self.g.get(f"L{r}{m}")
        return marks

    def record_marks(self, r, m):
        marks = self.g.marks(r, m, self.v["alias_mark"])
        if not self.v["blob_entries"] and m == "I":
            marks &= ~self.g.mask(fact for fact in (f"L{r}F", "DF") if fact in self.g.bit)
        return marks

    def is_refused(self, s, d):
        """True if an item was touched since the run began, or in the grace period."""
        if self.v["since"] and s.since >> self.number[d] & 1:
            return True
        return bool(self.v["grace"]) and s.idle[self.number[d]] < GRACE

    def is_pinned(self, s, r):
        return bool(self.v["pins"] and s.run.damaged & self.g.records_of(r))

    def collect(self, s, final=False):
        v = self.v
        if s.run is None:
            if s.runs >= v["runs"] and not final:
                return
            clients = tuple(c._replace(early=1) if c.op is not None and c.step >= (2 if self.is_put(i, c) else 1) else c
                            for i, c in enumerate(s.clients))
            run = Run(pc=1, calm=int(all(c.op is None for c in s.clients)))
            yield "run: begins", s._replace(run=run, since=0, clients=clients, runs=s.runs + 1), None
            return
        kind, *item = self.program[s.run.pc]
        steps = list(getattr(self, "run_" + kind)(s, *item, final))
        yield from steps
        if v["faults"] and not final and kind in ("manifest", "remove", "link", "data"):
            skipped = s._replace(run=s.run._replace(pc=s.run.pc + (2 if kind == "manifest" else 1)))
            if kind == "manifest" and not v["minus_removed"]:
                skipped = skipped._replace(run=skipped.run._replace(listed=s.run.listed & ~self.g.bit[f"R{item[0]}{item[1]}"]))
            if all(state != skipped for _, state, _ in steps):
                yield f"run: {kind} {item} fails", skipped, None
            yield "run: ends early", s._replace(run=None, since=0), None

    def is_put(self, i, client):
        return self.programs[i][0][client.op].kind in ("put", "restore")

    def next(self, s, jump=1, disk=None, durable=None, removed=None, **run):
        """The state after a step of the run."""
        run = s.run._replace(pc=s.run.pc + jump, **run)
        s = s._replace(run=run)
        if disk is not None:
            s = s._replace(disk=disk, durable=s.durable & disk if durable is None else durable)
        if removed is not None:
            s = s._replace(**self.removed(s, removed, s.clients))
        return s if self.v["power"] else s._replace(durable=0)

    def run_wait(self, s, final):
        if self.v["wait"] and any(c.early for c in s.clients):
            return
        yield "run: earlier sections have ended", self.next(s), None

    def run_empty(self, s, final):
        """An explicit run empties the trash. A client that restores may be refused then."""
        if self.v["trash"] or final:
            yield "run: keeps the trash", self.next(s), None
        elif self.v["dry"]:
            yield "run: would empty the trash", self.next(s), None
        else:
            trash, kept = self.g.all_trash, s.kept & ~self.g.all_trash
            clients = tuple(c._replace(excused=1) if c.op is not None and self.programs[i][0][0].kind == "restore" else c
                            for i, c in enumerate(s.clients))
            s = s._replace(kept=kept, clients=clients, **self.release_trash(s))
            yield "run: empties the trash", self.next(s, disk=s.disk & ~trash, durable=s.durable & ~trash), None

    def run_list(self, s, r, final):
        facts = [f"R{q}{m}" for q, m in self.g.records if q == r] + [f"L{q}{d}" for q, d in self.g.links if q == r]
        facts += [f"{t}{q}{m}" for t in self.g.tag_names for q, m in self.g.records if q == r]
        found = s.disk & self.g.mask(facts)
        lost = self.g.mask(f"R{q}{m}" for q, m in self.g.records if q == r and not s.disk & self.g.bit[f"D{m}"]) & found
        choices = [0]
        if self.v["unread"] and not final and s.runs == 1:
            choices += [b for b in self.g.bit.values() if found & self.g.all_records & b]
        for unreadable in choices:
            label = f"run: lists repository {r}" + (f", {self.g.facts(unreadable)} is unreadable" if unreadable else "")
            state = self.next(s, listed=s.run.listed | found, damaged=s.run.damaged | lost | unreadable)
            yield label, state, None

    def run_roots(self, s, final):
        # A run that empties the trash, but writes nothing, takes it for empty.
        would_empty = self.v["dry"] and not self.v["trash"]
        roots = 0 if would_empty else self.trash_roots(s.disk)
        if self.v["committing"] and s.disk & self.g.bit["K"]:
            roots |= self.g.bit["DB"]
        yield "run: lists trash and sessions", self.next(s, roots=s.run.roots | roots), None

    def run_manifest(self, s, r, m, final):
        g, v = self.g, self.v
        record = g.bit[f"R{r}{m}"]
        named = f"run: manifest {r}/{m}"
        if not v["m"] or not s.run.listed & record:
            yield f"{named} lives", self.next(s, 2), None
            return
        records = s.run.listed & g.all_records & ~(s.run.damaged if not v["pins"] else 0)
        shared, exclusive = self.locks(s, "run")
        # Tags that were listed only keep more.
        is_dead = not g.is_named(records, r, m) and not s.disk & g.tags_of(r, m)
        if not v["top_down"]:
            is_dead = not s.disk & g.tags_of(r, m) and not any(
                s.disk & g.tags_of(r, p) for p in g.needs if m in g.below(p) or g.subjects.get(m) == p)
        subject = g.subjects.get(m)
        if not s.disk & record:
            # A request has deleted it since, and wrote a trash record that needs its content.
            listed = s.run.listed if v["absent_stays"] else s.run.listed & ~record
            yield f"{named} is absent", self.next(s, 2, listed=listed), None
        elif (shared | exclusive) & self.keys(m) and not final:
            yield f"{named} is busy", self.next(s, 2), None
        elif not is_dead or self.is_pinned(s, r) or self.is_refused(s, m):
            yield f"{named} stays", self.next(s, 2), None
        elif subject and v["subject"] and self.v["since"] and s.since >> self.number[subject] & 1:
            yield f"{named} stays with its subject", self.next(s, 2), None
        elif v["dry"] and not final:
            listed = s.run.listed & ~record if v["overlay"] else s.run.listed
            roots = s.run.roots | (self.trash_marks(r, m) if v["trash"] else 0)
            yield f"{named} would go", self.next(s, 2, listed=listed, roots=roots, report=s.run.report | record), None
        else:
            trash = g.bit[f"X{r}{m}"] if v["trash"] and not final else 0
            kept = s.kept & ~trash | (trash if not self.trash_marks(r, m) & ~s.disk else 0)
            state = self.next(s._replace(kept=kept), disk=s.disk | trash, durable=s.durable | trash)
            # A subject that is pushed from here on finds its referrer gone.
            is_lost = subject and s.acked & record and s.disk & g.get(f"R{r}{subject}") and s.disk & g.tags_of(r, subject)
            fault = f"8 the referrer {r}/{m} goes although its subject is tagged" if is_lost else None
            yield f"{named} is locked, dead", state, fault

    def run_remove(self, s, r, m, final):
        g = self.g
        record = g.bit[f"R{r}{m}"]
        keeps = self.v["trash"] and not final and self.v["own_trash"]
        roots = s.run.roots | (self.trash_marks(r, m) if keeps else 0)
        state = self.next(
            s, disk=s.disk & ~record, durable=s.durable, listed=s.run.listed & ~record, roots=roots,
            report=s.run.report | record, removed=m)
        yield f"run: manifest {r}/{m} is removed", state, None

    def run_settle(self, s, final):
        durable = s.disk if self.v["settle"] and not self.v["dry"] else s.durable
        yield "run: settles", self.next(s, disk=s.disk, durable=durable), None

    def run_link(self, s, r, d, final):
        link = self.g.bit[f"L{r}{d}"]
        named = f"run: link {r}/{d}"
        shared, exclusive = self.locks(s, "run")
        if not s.run.listed & link or not s.disk & link:
            yield f"{named} is not there", self.next(s), None
        elif (shared | exclusive) & self.keys(d, self.g.target(d)) and not final:
            yield f"{named} is busy", self.next(s), None
        elif self.is_pinned(s, r) or self.marks(s) & link or self.is_refused(s, d):
            yield f"{named} stays", self.next(s), None
        elif self.v["dry"] and not final:
            state = self.next(s, listed=s.run.listed & ~link, report=s.run.report | link)
            yield f"{named} would go", state, None
        else:
            state = self.next(
                s, disk=s.disk & ~link, durable=s.durable, listed=s.run.listed & ~link, report=s.run.report | link,
                removed=d)
            yield f"{named} is removed", state, None

    def run_data(self, s, d, final):
        g, v = self.g, self.v
        data = g.bit[f"D{d}"]
        named = f"run: data {d}"
        shared, exclusive = self.locks(s, "run")
        held = [n for r, n in g.links if s.run.listed & g.bit[f"L{r}{n}"] and (g.target(n) if v["alias_held"] else n) == d]
        held += [m for r, m in g.records if m == d and s.run.listed & g.bit[f"R{r}{m}"]]
        is_visited = v["bare"] or s.run.report & g.mask(f"L{r}{n}" for r, n in g.links if g.target(n) == d)
        committing = g.bit["DB"] if v["committing"] and s.disk & g.bit["K"] else 0
        if not s.disk & data or not is_visited:
            yield f"{named} is not there", self.next(s), None
        elif (shared | exclusive) & self.keys(d) and not final:
            yield f"{named} is busy", self.next(s), None
        elif held or (self.marks(s) | committing) & data or self.is_refused(s, d):
            yield f"{named} stays", self.next(s), None
        elif v["dry"] and not final:
            yield f"{named} would go", self.next(s, report=s.run.report | data), None
        else:
            state = self.next(
                s, disk=s.disk & ~data, durable=s.durable, report=s.run.report | data, removed=d)
            yield f"{named} is removed", state, None

    def run_end(self, s, final):
        yield "run: ends", s._replace(run=None, since=0), None
