"""Requests that replicas serve. Each step is a function that yields (label, next state)."""

from facts import ANSWERED, F, NOBODY, SECTION, Client, Message


class Clients:
    """The part of the model that serves requests."""

    def requests(self, s, i):
        """The steps that a replica can take now for a client."""
        c = s.clients[i]
        if c.op is None or c.step == "sent":
            return
        op = self.programs[i][0][c.op]
        if c.step in ("view", "rescue", "dying"):
            steps = self.promise(s, i, c, op)
        else:
            steps = getattr(self, op.kind.replace(" ", "_"))(s, i, c, op)
        for label, state in steps:
            yield f"P{i} {label}", state

    def to(self, s, i, client, **changes):
        """The state after a step for a client."""
        return s._replace(clients=s.clients[:i] + (client,) + s.clients[i + 1:], **changes)

    def at(self, c, op):
        """The client at its next request."""
        return Client() if op is None else Client(op=op, lost=c.lost)

    def restart(self, i, c):
        """The client after an error, at the first of its requests."""
        return self.at(c, self.programs[i][1])

    def promised(self, op):
        """Digests that a request relies on."""
        if op.kind in ("put", "restore"):
            return op.d + self.g.needs[op.d]
        if op.kind == "delete manifest":
            return op.d if self.v["trash"] and self.v["trash_promises"] else ""
        return op.d if op.kind in ("head", "commit", "mount") else ""

    def condemned(self, victims, digests):
        """Those of the digests that are on the list, and the keys on the list for them."""
        g, hit, keys = self.g, 0, 0
        for d in digests:
            listed = g.keys_of[d] & victims
            if self.v["watch"]:
                listed |= victims & g.mask(f"R{f}" for f in g.records if g.subjects.get(f[1]) == d)
            if listed:
                hit, keys = hit | g.number[d], keys | listed
        return hit, keys

    def promise(self, s, i, c, op):
        digests = self.promised(op)
        if c.step == "view":
            hit = self.condemned(s.listed, digests)[0] if self.v["rescues"] else 0
            hit &= ~(s.remembered >> 8 * s.epoch)
            c = c._replace(step="rescue" if hit else "look", epoch=s.epoch, victims=s.listed if hit else 0, age=0)
            yield f"{op.kind} {op.r}{op.d}: view of epoch {s.epoch}{', condemned' if s.listed else ''}", self.to(s, i, c)
            return
        hit, keys = self.condemned(c.victims, digests)
        remembered = s.remembered | hit << 8 * c.epoch
        if c.step == "rescue":
            rescued = s.rescued[:c.epoch] + (s.rescued[c.epoch] | hit,) + s.rescued[c.epoch + 1:]
            following = "dying" if self.v["dying_check"] else "look"
            yield f"rescues {self.names(hit)}", self.to(
                s, i, c._replace(step=following), rescued=rescued,
                remembered=remembered if self.v["remembers"] == "at once" else s.remembered)
        elif any(ticks and batch & keys for ticks, batch in zip(s.dying, self.g.batches)):
            c = self.at(c, op.no) if op.kind == "head" else self.restart(i, c)
            yield "removals are going on: absent", self.to(s, i, c)
        else:
            yield "no removal is going on", self.to(
                s, i, c._replace(step="look", victims=0),
                remembered=remembered if self.v["remembers"] == "looked" else s.remembered)

    def names(self, digests):
        return " ".join(d for d, n in self.g.number.items() if digests & n) or "nothing"

    def send(self, s, i, c, kind, keys, label, slot=0, expected=0):
        """Sends a publishing write, which is signed with the date of the view."""
        timer = c.age - SECTION if self.v["fence"] else 0
        if timer > F:
            yield f"{label}: the url has expired", self.to(s, i, self.restart(i, c))
            return
        message = Message(kind, keys, i, timer, slot, expected)
        state = self.to(s, i, c._replace(step="sent"), messages=tuple(sorted(s.messages + (message,))))
        yield f"sends {label}", state

    def head(self, s, i, c, op):
        is_there = self.g.is_there(s.disk, op.r, op.d)
        yield f"looks: {'there' if is_there else 'absent'}", self.to(s, i, self.at(c, op.yes if is_there else op.no))

    def commit(self, s, i, c, op):
        data, link = self.g.bit[f"D{op.d}"], self.g.bit[f"L{op.r}{op.d}"]
        if c.step == "look":
            yield from self.store(s, i, c, data, link)
        else:
            yield from self.send(s, i, c, "put", link, f"link {op.r}{op.d}")

    def store(self, s, i, c, data, name):
        """Bytes of a digest are written without a condition, and may be late. The link or record follows."""
        if self.v["late_data"]:
            message = Message("put", data, i, 0)
            state = self.to(s, i, c._replace(step="sent"), messages=tuple(sorted(s.messages + (message,))))
            yield f"sends {self.g.facts(data)}", state
        else:
            # A message that is not sent yet is like one that is under way: both expire with the view.
            for label, state in self.send(s._replace(disk=s.disk | data), i, c, "put", name, self.g.facts(name)):
                yield f"stores {self.g.facts(data)}, {label}", state

    def mount(self, s, i, c, op):
        if c.step == "look":
            is_there = self.g.is_there(s.disk, op.source, op.d)
            c = c._replace(step="link") if is_there else self.at(c, op.no)
            yield f"looks in {op.source}: {'there' if is_there else 'absent'}", self.to(s, i, c)
        else:
            yield from self.send(s, i, c, "put", self.g.bit[f"L{op.r}{op.d}"], f"link {op.r}{op.d}")

    def put(self, s, i, c, op):
        g = self.g
        record, data = g.bit[f"R{op.r}{op.d}"], g.bit[f"D{op.d}"]
        if c.step == "look":
            is_there = all(g.is_there(s.disk, op.r, d) for d in g.needs[op.d])
            if op.kind == "restore":
                is_there = is_there and s.disk & data
            yield ("looks: all is there" if is_there else "looks: something is absent"), self.to(
                s, i, c._replace(step="data" if op.kind == "put" else "record") if is_there else self.at(c, op.no))
        elif c.step == "data":
            yield from self.store(s, i, c, data, record)
        elif c.step == "record":
            yield from self.send(s, i, c, "put", record, f"record {op.r}{op.d}")
        elif c.step == "tag":
            slot = g.slots[op.tags[c.tag] + op.r]
            target = g.bit[f"{op.tags[c.tag]}{op.r}{op.d}"]
            yield from self.send(
                s, i, c, "tag", target, f"tag {op.tags[c.tag]}{op.r} -> {op.d}", slot, s.disk & slot)
        elif s.disk & record:
            # The answer. What was deleted is there again.
            tagged = s.tagged | self.slot_bits(op) & ~s.untagged
            yield f"201 {op.r}{op.d}", self.to(
                s, i, self.at(c, op.yes), tagged=tagged, spoiled=self.unspoiled(s, op.r, op.d))
        else:
            yield "looks again: the record is gone", self.to(s, i, self.restart(i, c))

    def unspoiled(self, s, r, m):
        """What requests have deleted, after a push or a deletion of a manifest has ended."""
        record = self.g.bit[f"R{r}{m}"]
        ops = [self.programs[i][0][c.op] for i, c in enumerate(s.clients) if c.op is not None and c.step != "view"]
        is_going_on = any(
            op.r == r and (op[:3] == ("delete manifest", r, m) or op.kind == "delete blob" and op.d in self.g.below(m))
            for op in ops)
        return s.spoiled if is_going_on or self.g.lacks(s.disk, r, m) else s.spoiled & ~record

    def restore(self, s, i, c, op):
        if c.step == "look" and not s.disk & (self.g.bit[f"X{op.r}{op.d}"] | self.g.bit[f"R{op.r}{op.d}"]):
            yield "restore: not in the trash", self.to(s, i, self.at(c, None))
        else:
            yield from self.put(s, i, c, op)

    def slot_bits(self, op):
        return sum(1 << n for n, name in enumerate(self.g.slots) if name[0] in op.tags and name[1] == op.r)

    def forget(self, s, i, c, op):
        record = self.g.bit[f"X{op.r}{op.d}"]
        yield f"forgets X{op.r}{op.d}", self.to(s, i, self.at(c, op.yes), disk=s.disk & ~record, kept=s.kept & ~record)

    def delete_manifest(self, s, i, c, op):
        g = self.g
        record, trash = g.bit[f"R{op.r}{op.d}"], g.bit[f"X{op.r}{op.d}"]
        if c.step == "look":
            if not s.disk & record:
                yield "looks: no record", self.to(s, i, c._replace(step="again"))
            else:
                following = "trash" if self.v["trash"] and not s.disk & trash else "away"
                yield "looks: there", self.to(s, i, c._replace(step=following))
        elif c.step == "trash":
            yield from self.send(s, i, c, "put", trash, f"trash record {op.r}{op.d}")
        elif c.step == "away":
            spoiled = s.spoiled | g.mask(f"R{f}" for f in g.records if f[0] == op.r and op.d in g.below(f[1]))
            s = s._replace(spoiled=spoiled)
            tags = s.disk & g.tags_of(op.r + op.d)
            if tags:
                yield from self.tag_away(s, i, c, tags & -tags)
            else:
                yield from self.send_delete(s, i, c, record)
        elif s.disk & g.tags_of(op.r + op.d) and self.v["tags_again"]:
            tags = s.disk & g.tags_of(op.r + op.d)
            yield from self.tag_away(s, i, c, tags & -tags)
        else:
            after = self.to(s, i, self.at(c, op.yes))
            yield "lists the tags again: 202", after._replace(spoiled=self.unspoiled(after, op.r, op.d))

    def tag_away(self, s, i, c, tag):
        slot = next(mask for mask in self.g.slots.values() if mask & tag)
        # `tag` tells which of the two listings of tags follows the answer.
        c = c._replace(age=0, tag=int(c.step == "again"))
        yield from self.send(s, i, c, "tag", 0, f"deletion of {self.g.facts(tag)}", slot, tag)

    def send_delete(self, s, i, c, key):
        """A DELETE of a request. It is sent once, and an unclear answer is waited for until the url has expired."""
        state = self.to(
            s, i, c._replace(step="sent"), messages=tuple(sorted(s.messages + (Message("delete", key, i, 0),))))
        yield f"sends DELETE {self.g.facts(key)}", state

    def delete_tag(self, s, i, c, op):
        tag = s.disk & self.g.slots[op.tags + op.r]
        if tag:
            yield from self.tag_away(s, i, c, tag)
        else:
            yield "looks: no tag", self.to(s, i, self.at(c, op.yes))

    def delete_blob(self, s, i, c, op):
        g = self.g
        link = g.bit[f"L{op.r}{op.d}"]
        if not s.disk & link:
            yield "looks: no link", self.to(s, i, self.at(c, op.yes))
        else:
            spoiled = s.spoiled | g.mask(f"R{f}" for f in g.records if f[0] == op.r and op.d in g.below(f[1]))
            kept = s.kept & ~g.mask(f"X{f}" for f in g.records if f[0] == op.r and op.d in g.below(f[1]))
            yield from self.send_delete(s._replace(spoiled=spoiled, kept=kept), i, c, link)

    def answered(self, s, i, message, is_done):
        """A client after the answer to its message."""
        c, g = s.clients[i], self.g
        op = self.programs[i][0][c.op]
        if not is_done:
            return self.to(s, i, self.restart(i, c)) if op.kind in ("put", "restore") else self.to(
                s, i, c._replace(step=("away", "again")[c.tag] if op.kind == "delete manifest" else "look"))
        if op.kind in ("put", "restore"):
            if message.kind == "tag":
                more = c.tag + 1 < len(op.tags)
                c = c._replace(step="tag" if more else "own", tag=c.tag + more)
            elif message.keys & g.of_kind["D"]:
                c = c._replace(step="record")
            else:
                c = c._replace(step="tag" if op.tags else "own")
        elif op.kind == "commit" and message.keys & g.of_kind["D"]:
            c = c._replace(step="link")
        elif op.kind == "delete manifest":
            if message.keys & g.of_kind["X"]:
                is_whole = not g.marks(op.r, op.d) & ~g.of_kind["R"] & ~s.disk
                s = s._replace(kept=s.kept | message.keys) if is_whole else s
                c = c._replace(step="away")
            else:
                c = c._replace(step="again" if message.kind == "delete" or c.tag else "away", tag=0)
        else:
            c = self.at(c, op.yes)
        return self.to(s, i, c)

    def land(self, s):
        """A message takes effect, with or without an answer, or its sender gives up while it is under way."""
        for n, m in enumerate(s.messages):
            if n and s.messages[n - 1] == m:
                continue
            rest = s.messages[:n] + s.messages[n + 1:]
            is_done = m.kind != "tag" or s.disk & m.slot == m.expected
            disk = s.disk
            if is_done:
                disk = {"put": disk | m.keys, "delete": disk & ~m.keys, "tag": disk & ~m.slot | m.keys}[m.kind]
            label = f"{m.kind.upper()} {self.g.facts(m.keys or m.slot)} {'takes effect' if is_done else 'is refused'}"
            spare = s.spare
            leftovers = [(rest, spare, "")]
            if is_done and spare[0] and m.owner != ANSWERED:
                again = tuple(sorted(rest + (m._replace(owner=ANSWERED),)))
                leftovers.append((again, (spare[0] - 1,) + spare[1:], ", and is under way a second time"))
            for messages, spare, more in leftovers:
                after = self.moved(s, m, is_done)._replace(disk=disk, messages=messages, spare=spare)
                if m.owner in (NOBODY, ANSWERED):
                    yield label, after
                elif m.owner < 10:
                    yield label + more, self.answered(after, m.owner, m, is_done)
                else:
                    yield label + more, self.removed(after, m.owner - 10, m)
            if m.owner in (NOBODY, ANSWERED):
                continue
            after = self.moved(s, m, is_done)._replace(disk=disk, messages=rest)
            lost = self.unanswered(after, m.owner)
            if lost is not None:
                yield label + ", the answer is lost", lost
                orphan = tuple(sorted(rest + (m._replace(owner=NOBODY),)))
                yield f"the answer to {m.kind} {self.g.facts(m.keys or m.slot)} is lost before", self.unanswered(
                    s._replace(messages=orphan), m.owner)
                if m.kind == "delete" and m.owner >= 10 and self.v["retry"]:
                    second = m if self.v["fence_delete"] else m._replace(timer=0)
                    j = m.owner - 10
                    k = s.collectors[j]
                    yield "the client library sends the DELETE again", s._replace(
                        messages=tuple(sorted(s.messages + (second,))),
                        collectors=s.collectors[:j] + (k._replace(lost=k.lost - 1),) + s.collectors[j + 1:])

    def moved(self, s, m, is_done):
        """Keeps account of the tags that requests have deleted. One that ended before is no excuse."""
        if m.kind != "tag" or not is_done or m.owner == ANSWERED and not m.keys:
            return s
        n = 1 << next(n for n, slot in enumerate(self.g.slots.values()) if slot == m.slot)
        if m.keys:
            return s._replace(untagged=s.untagged & ~n)
        return s._replace(untagged=s.untagged | n, tagged=s.tagged & ~n)

    def unanswered(self, s, owner):
        """The state after an answer is lost; None if no more answers are lost."""
        if owner < 10:
            c = s.clients[owner]
            if not c.lost:
                return None
            return self.to(s, owner, self.restart(owner, c._replace(lost=c.lost - 1)))
        k = s.collectors[owner - 10]
        if not k.lost:
            return None
        return self.unclear(s, owner - 10, k._replace(lost=k.lost - 1))
