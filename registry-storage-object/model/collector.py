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
            is_dying = s.marks[s.epoch] >> 8 & 255
            waits = {"D": self.v["D"], "no": 0, "F if dying": F + 1 if is_dying else self.v["D"]}[self.v["successor"]]
            k = k._replace(epoch=s.epoch)
            yield f"finds the list of epoch {s.epoch}", self.on(s, j, k, "wait", clock=self.v["D"] - waits, listed=s.listed)
        elif s.epoch >= len(s.marks) - 1:
            yield "ends", self.on(s, j, k, "end")
        elif any(s.marks) and self.v["sweep"]:
            yield "sweeps keys of old epochs", self.on(s._replace(marks=(0,) * len(s.marks)), j, k, "start")
        else:
            yield from self.run_list(s, j, k._replace(epoch=s.epoch, seen=0, clock=0))

    def run_wait(self, s, j, k):
        if k.clock >= self.v["D"]:
            yield from self.run_next(s, j, k)

    def run_next(self, s, j, k):
        """Goes on with the first batch that is not done."""
        b = 0
        while b < len(self.g.batches) and s.marks[k.epoch] >> 16 + b & 1:
            b += 1
        if b == len(self.g.batches):
            yield "all batches are done", self.on(s, j, k, "finish", batch=0, seen=0, victims=0)
        else:
            yield from self.run_list(s, j, k._replace(batch=b, seen=0, victims=0, clock=0))

    # Listing

    def parts(self):
        """What one step of a listing reads."""
        g = self.g
        records = [g.mask(f"R{f}" for f in g.records if f[0] == r) for r in "01"]
        tags = [g.all_tags]
        trash = [g.of_kind["X"]] if self.v["trash"] else []
        parts = records + tags + trash if self.v["records_first"] else trash + tags + records
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

    def run_condemn(self, s, j, k):
        if s.epoch == k.epoch and not s.listed and (self.is_mine(s, j) or not self.v["one"]):
            yield f"CAS condemned({k.epoch}) {self.g.facts(k.listed)}", self.on(
                s._replace(listed=k.listed), j, k, "wait")
        else:
            yield "CAS fails", self.on(s, j, k._replace(listed=0), "start" if self.is_mine(s, j) else "end")

    def mark_again(self, s, j, k, seen, label):
        g = self.g
        batch = g.batches[k.batch]
        if not self.v["again"]:
            victims = k.listed & batch
        else:
            roots = self.tag_targets(seen)
            if self.v["survivors"]:
                earlier = sum(g.batches[:k.batch])
                roots |= seen & g.of_kind["R"] & (~k.listed | earlier)
            live = self.expand(seen, roots) | self.kept_otherwise(seen)
            # A link that stays holds its data. Without this nothing is lost, but a link would lie there alone.
            links = seen & g.of_kind["L"] & (~k.listed | sum(g.batches[:k.batch]))
            live |= g.mask(f"D{f[1]}" for f in g.links if links & g.bit[f"L{f}"])
            victims = k.listed & seen & batch & ~live
        yield f"{label}, batch {k.batch}: victims {g.facts(victims)}", self.on(s, j, k, "dying", seen=seen, victims=victims)

    # Removal

    def run_dying(self, s, j, k):
        marks = self.marked(s, k.epoch, 1 << 8 + k.batch)
        yield f"marks batch {k.batch} as dying", self.on(s._replace(marks=marks), j, k, "rescued")

    def run_rescued(self, s, j, k):
        g = self.g
        rescued = s.marks[k.epoch] & 255
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
                s._replace(spare=spare), j, k._replace(victims=victims, seen=0))

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
        elif self.v["fence_delete"]:
            # A message that is not sent yet is like one that is under way: both expire F after the date.
            yield from self.run_send(s, j, k)
        else:
            yield "checks the state", self.on(s, j, k, "send")

    def run_send(self, s, j, k):
        kind, key = self.following(k.victims)
        # `seen` tells that the batch has sent something.
        state = self.on(s, j, k, "sent", seen=1)
        messages = tuple(sorted(s.messages + (Message(kind, key, 10 + j, 0),)))
        yield f"takes the date, checks the state, sends {kind.upper()} {self.g.facts(key)}", state._replace(messages=messages)

    def goes_on(self, s, j, k):
        """The state after a part of the victims is gone."""
        if k.victims & self.g.victims:
            return self.on(s, j, k, "check")
        return self.on(s, j, k, "drain" if self.v["wait_done"] and k.seen else "done", victims=0, seen=0)

    def removed(self, s, j, m):
        """A collector after the answer to its message."""
        k = s.collectors[j]
        messages = s.messages
        if any(x.owner == 10 + j for x in messages):
            messages = tuple(sorted(x._replace(owner=NOBODY) if x.owner == 10 + j else x for x in messages))
        kept = s.kept | m.keys & self.g.of_kind["X"]
        return self.goes_on(s._replace(messages=messages, kept=kept), j, k._replace(victims=k.victims & ~m.keys))

    def unclear(self, s, j, k):
        if self.v["lift"]:
            return self.on(s, j, k, "done", victims=0, seen=0)
        return self.on(s, j, k, "unclear", victims=0, seen=0)

    def run_unclear(self, s, j, k):
        if k.clock > F:
            yield from self.run_next(s, j, k)

    def run_drain(self, s, j, k):
        if k.clock > F:
            yield "no message is late any more", self.on(s, j, k, "done")

    def run_done(self, s, j, k):
        if not self.v["fence_done"]:
            yield from self.put_done(s, j, k)
        elif not self.is_mine(s, j):
            yield "has lost the lease", self.on(s, j, k, "end")
        else:
            yield "takes the date, checks the state", self.on(s, j, k, "put_done")

    def run_put_done(self, s, j, k):
        if k.clock > F:
            yield "the url has expired", self.on(s, j, k, "done")
        else:
            yield from self.put_done(s, j, k)

    def put_done(self, s, j, k):
        s = s._replace(marks=self.marked(s, k.epoch, 1 << 16 + k.batch))
        yield f"marks batch {k.batch} as done", self.on(s, j, k, "next", batch=0)

    def run_finish(self, s, j, k):
        if s.epoch == k.epoch and s.listed == k.listed and (self.is_mine(s, j) or not self.v["one"]):
            state = s._replace(epoch=s.epoch + 1, listed=0)
            yield f"CAS idle({s.epoch + 1})", self.on(state, j, k, "keep", listed=0)
        else:
            yield "CAS fails", self.on(s, j, k._replace(listed=0), "start" if self.is_mine(s, j) else "end")

    def run_keep(self, s, j, k):
        if k.clock > F or not self.v["keep_keys"]:
            marks = s.marks[:k.epoch] + (0,) + s.marks[k.epoch + 1:]
            yield f"removes the keys of epoch {k.epoch}", self.on(s._replace(marks=marks), j, k._replace(epoch=0), "start")


def bits(mask):
    while mask:
        yield mask & -mask
        mask &= mask - 1
