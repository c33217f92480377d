"""Collectors. Each step is a function that yields (label, next state)."""

from facts import F, NOBODY, Collector, Message

class Collectors:
    """The part of the model that removes."""

    def turn(self, s, j):
        """The steps that a collector can take now."""
        k = s.collectors[j]
        if k.step in ("sent", "end"):
            return
        for label, state in getattr(self, "run_" + k.step)(s, j, k):
            yield f"C{j} {label}", state

    def on(self, s, j, k, step, **changes):
        """The state after a step of a collector."""
        if step == "end":
            k = Collector()
        k = k._replace(step=step, **{"clock": 0, **changes})
        return s._replace(collectors=s.collectors[:j] + (k,) + s.collectors[j + 1:])

    def is_mine(self, s, j):
        return s.holder == j

    def run_off(self, s, j, k):
        """Takes over, at any moment."""
        if s.holder == j - 1:
            yield "takes over", self.on(s._replace(holder=j), j, k, "start")

    def run_start(self, s, j, k):
        if s.listed:
            yield f"finds the list of epoch {s.epoch}", self.on(
                s, j, k._replace(epoch=s.epoch), "wait", listed=s.listed, victims=int(not self.v["successor_waits"]))
        elif s.epoch >= len(s.rescued) - 1:
            yield "ends", self.on(s, j, k, "end")
        elif any(s.rescued) and self.v["sweep"]:
            yield "sweeps keys of old epochs", self.on(s._replace(rescued=(0,) * len(s.rescued)), j, k, "start")
        else:
            yield from self.run_list(s, j, k._replace(epoch=s.epoch, seen=0, clock=0))

    def run_wait(self, s, j, k):
        if s.age >= self.v["D"] or k.victims:
            yield from self.run_list(s, j, k._replace(batch=0, seen=0, victims=0))

    # Listing

    def parts(self):
        """What one step of a listing reads."""
        g = self.g
        records = [g.mask(f"R{f}" for f in g.records if f[0] == r) for r in "01"]
        tags = list(g.slots.values())
        trash = [g.of_kind["X"]] if self.v["trash"] else []
        parts = tags + records + trash if self.v["records_first"] else trash + tags + records
        return [part for part in parts + [g.of_kind["L"] | g.of_kind["D"]] if part]

    def run_list(self, s, j, k):
        parts = self.parts() if self.v["slow"] else [sum(self.parts())]
        part = parts[k.clock]
        found = s.disk & part & ~self.hidden
        choices = [(found, s.spare)]
        if s.spare[1] and not self.v["twice"]:
            choices += [(found & ~b, (s.spare[0], s.spare[1] - 1)) for b in bits(found)]
        if self.v["unread"]:
            choices += [(found | b << 32, spare) for found, spare in choices[:1] for b in bits(found & self.g.of_kind["R"])]
        for found, spare in choices:
            seen = k.seen | found
            state = s._replace(spare=spare)
            omitted = s.disk & part & ~found
            label = "lists" + (f", {self.g.facts(omitted)} is omitted" if omitted else "")
            if k.clock + 1 < len(parts):
                k2 = k._replace(seen=seen)
                yield f"{label} {self.g.facts(found & part)}", self.on(state, j, k2, "list", clock=k.clock + 1)
            elif k.listed:
                yield from self.mark_again(state, j, k, seen, label)
            else:
                yield from self.mark_first(state, j, k, seen, label)

    def expand(self, seen, records):
        """Records, and the keys that they keep, of what a listing has seen."""
        g, kept, damaged = self.g, 0, seen >> 32
        while records:
            kept |= records
            more = 0
            for f in g.records:
                if records & g.bit[f"R{f}"] and not damaged & g.bit[f"R{f}"]:
                    more |= g.marks(f[0], f[1])
                subject = g.subjects.get(f[1])
                if self.v["subjects"] and subject and records & g.get(f"R{f[0]}{subject}"):
                    more |= g.bit[f"R{f}"] & seen
            records = more & g.of_kind["R"] & seen & ~kept
            kept |= more
        return kept

    def kept_otherwise(self, seen):
        """Keys that the trash and unreadable records keep."""
        g, kept = self.g, 0
        for f in g.records:
            if seen & g.bit[f"X{f}"]:
                kept |= g.marks(f[0], f[1]) & ~g.of_kind["R"]
            if seen >> 32 & g.bit[f"R{f}"] and self.v["pins"]:
                kept |= self.pinned(seen, f[0])
        return kept

    def pinned(self, seen, r):
        g = self.g
        held = g.mask(f"R{f}" for f in g.records if f[0] == r) | g.mask(f"L{f}" for f in g.links if f[0] == r)
        return held | g.mask(f"D{d}" for d in g.digests if seen & (g.get(f"R{r}{d}") | g.get(f"L{r}{d}")))

    def tag_targets(self, seen):
        g = self.g
        return g.mask(f"R{f}" for f in g.records if seen & g.tags_of(f)) & seen

    def mark_first(self, s, j, k, seen, label):
        g = self.g
        dead = seen & g.victims & ~self.expand(seen, self.tag_targets(seen)) & ~self.kept_otherwise(seen)
        if dead:
            yield f"{label}; dead: {g.facts(dead)}", self.on(s, j, k, "condemn", listed=dead)
        elif any(s.rescued) and self.v["sweep"]:
            yield f"{label}; nothing is dead", self.on(s, j, k, "start", seen=0)

    def run_condemn(self, s, j, k):
        if s.epoch == k.epoch and not s.listed and (self.is_mine(s, j) or not self.v["one"]):
            yield f"CAS condemned({k.epoch}) {self.g.facts(k.listed)}", self.on(
                s._replace(listed=k.listed, age=0), j, k, "wait")
        else:
            yield "CAS fails", self.on(s, j, k._replace(listed=0), "start" if self.is_mine(s, j) else "end")

    def mark_again(self, s, j, k, seen, label):
        """What a listing after D says. Items that came since are rescued with what they need."""
        k = k._replace(seen=seen)
        state = self.next_batch(s, j, k)
        yield f"{label}: victims {self.g.facts(self.victims(k))}", state

    def victims(self, k):
        """Victims of a batch, by what the last listing has seen, without what this run has removed."""
        g, seen = self.g, k.seen
        batch = g.batches[k.batch]
        if not self.v["again"]:
            return k.listed & batch
        roots = self.tag_targets(seen)
        if self.v["survivors"]:
            roots |= seen & g.of_kind["R"] & (~k.listed | sum(g.batches[:k.batch]))
        live = self.expand(seen, roots) | self.kept_otherwise(seen)
        # A link that stays holds its data. Without this nothing is lost, but a link would lie there alone.
        links = seen & g.of_kind["L"] & (~k.listed | sum(g.batches[:k.batch]))
        live |= g.mask(f"D{f[1]}" for f in g.links if links & g.bit[f"L{f}"])
        return k.listed & seen & batch & ~live

    def next_batch(self, s, j, k):
        """Goes on with the next batch that has victims, from this one on."""
        while k.batch < len(self.g.batches):
            victims = self.victims(k)
            if victims:
                return self.on(s, j, k, "dying", victims=victims)
            k = k._replace(batch=k.batch + 1)
            if self.v["again"] == "each" and k.batch < len(self.g.batches):
                return self.on(s, j, k, "list", seen=0, victims=0)
        return self.on(s, j, k, "finish", batch=0, seen=0, victims=0)

    # Removal

    def run_dying(self, s, j, k):
        """Takes the date of the batch, until which its urls are valid, and announces its removals."""
        dying = s.dying[:k.batch] + (F + 1,) + s.dying[k.batch + 1:]
        yield f"marks batch {k.batch} as dying", self.on(s._replace(dying=dying), j, k, "rescued")

    def run_rescued(self, s, j, k):
        g = self.g
        rescued = s.rescued[k.epoch]
        choices = [(rescued, s.spare)]
        if s.spare[1] and not self.v["twice"]:
            choices += [(rescued & ~b, (s.spare[0], s.spare[1] - 1)) for b in bits(rescued)]
        for found, spare in choices:
            keys = g.with_digests(found)
            kept = keys
            if self.v["closure"]:
                kept |= self.expand(k.seen, keys & k.seen & g.of_kind["R"])
                kept |= self.referrers(k.seen, found)
            victims = k.victims & ~kept
            if self.v["trash"] and self.v["own_trash"]:
                victims |= self.trash_of(s, victims)
            label = f"lists rescued {self.names(found)}" + (", one is omitted" if found != rescued else "")
            yield f"{label}: victims {g.facts(victims)}", self.goes_on(
                s._replace(spare=spare), j, k._replace(victims=victims), "check")

    def referrers(self, seen, digests):
        """Keys that the referrers of rescued digests keep."""
        g = self.g
        found = g.mask(f"R{f}" for f in g.records if g.number.get(g.subjects.get(f[1]), 0) & digests) & seen
        return self.expand(seen, found)

    def trash_of(self, s, victims):
        g = self.g
        return g.mask(f"X{f}" for f in g.records if victims & g.bit[f"R{f}"]) & ~s.disk

    def following(self, victims):
        """The next message: a trash record before the removal that it tells of."""
        g = self.g
        first = victims & g.victims
        first &= -first
        for f in g.records:
            if first == g.bit[f"R{f}"] and victims & g.bit[f"X{f}"]:
                return "put", g.bit[f"X{f}"]
        return "delete", first

    def run_check(self, s, j, k):
        if self.v["check"] and not self.is_mine(s, j):
            yield "has lost the lease", self.on(s, j, k, "end")
        else:
            yield "checks the state", self.on(s, j, k, "send", clock=k.clock)

    def run_send(self, s, j, k):
        if k.clock > F:
            yield "the urls have expired", self.on(s, j, k, "list", batch=0, seen=0, victims=0)
            return
        kind, key = self.following(k.victims)
        messages = tuple(sorted(s.messages + (Message(kind, key, 10 + j, k.clock),)))
        yield f"sends {kind.upper()} {self.g.facts(key)}", self.on(
            s._replace(messages=messages), j, k, "sent", clock=k.clock)

    def goes_on(self, s, j, k, step="send"):
        """The state after a part of the victims is gone."""
        if k.victims & self.g.victims:
            return self.on(s, j, k, step, clock=k.clock)
        if not self.v["stands"]:
            s = s._replace(dying=s.dying[:k.batch] + (0,) + s.dying[k.batch + 1:])
        k = k._replace(batch=k.batch + 1, victims=0)
        if k.batch < len(self.g.batches) and self.v["again"] == "each":
            return self.on(s, j, k, "list", seen=0)
        return self.next_batch(s, j, k)

    def removed(self, s, j, m):
        """A collector after the answer to its message."""
        k = s.collectors[j]
        messages = s.messages
        if any(x.owner == 10 + j for x in messages):
            messages = tuple(sorted(x._replace(owner=NOBODY) if x.owner == 10 + j else x for x in messages))
        trash = m.keys & self.g.of_kind["X"]
        s = s._replace(messages=messages, kept=s.kept | trash)
        return self.goes_on(s, j, k._replace(victims=k.victims & ~m.keys, seen=k.seen & ~m.keys | trash))

    def unclear(self, s, j, k):
        if self.v["lift"]:
            return self.goes_on(s, j, k._replace(victims=0))
        return self.on(s, j, k, "unclear", batch=0, seen=0, victims=0)

    def run_unclear(self, s, j, k):
        """Lists again, once the urls have expired."""
        if not any(s.dying):
            yield from self.run_list(s, j, k)

    def run_finish(self, s, j, k):
        if self.v["end_waits"] and any(s.dying):
            return
        if s.epoch == k.epoch and s.listed == k.listed and (self.is_mine(s, j) or not self.v["one"]):
            state = s._replace(epoch=s.epoch + 1, listed=0, age=0, dying=(0,) * len(s.dying))
            yield f"CAS idle({s.epoch + 1})", self.on(state, j, k, "keep", listed=0)
        else:
            yield "CAS fails", self.on(s, j, k._replace(listed=0), "start" if self.is_mine(s, j) else "end")

    def run_keep(self, s, j, k):
        rescued = s.rescued[:k.epoch] + (0,) + s.rescued[k.epoch + 1:]
        yield f"removes the keys of epoch {k.epoch}", self.on(
            s._replace(rescued=rescued), j, k._replace(epoch=0), "start")


def bits(mask):
    while mask:
        yield mask & -mask
        mask &= mask - 1
