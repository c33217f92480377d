"""Requests. Each is a function that yields (label, next state, fault) for one client."""

from facts import Client


class Clients:
    """The part of the model that serves requests."""

    def requests(self, s, i):
        """The steps that a client can take now."""
        client = s.clients[i]
        if client.op is None:
            return []
        op = self.programs[i][0][client.op]
        handler = getattr(self, op.kind.replace(" ", "_"))
        shared, exclusive = self.locks(s, i)
        return [(f"P{i} {label}", state, fault) for label, state, fault in handler(s, i, client, op, shared, exclusive)]

    def to(self, s, i, client, **changes):
        """The state after a step of a client."""
        clients = list(changes.pop("clients", s.clients))
        # A change of all clients, such as an excuse, is part of `client` already.
        clients[i] = client
        if not self.v["power"]:
            changes["durable"] = 0
        return s._replace(clients=tuple(clients), **changes)

    def at(self, client, op, **changes):
        """The client outside of a section, at its next request."""
        if op is None:
            return Client()
        return client._replace(op=op, step=0, early=0, held=0, trusts=0, stale=0, **changes)

    def found(self, disk, r, d):
        """Result of a lookup: the whole closure, or only the name itself."""
        if self.v["deep"]:
            return not self.g.lacks(disk, r, d)
        return self.is_there(disk, r, d)

    def is_there(self, disk, r, d):
        data = disk & self.g.bit[f"D{self.g.target(d)}"]
        return bool(data and disk & (self.g.get(f"R{r}{d}") | self.g.get(f"L{r}{d}")))

    def head(self, s, i, client, op, shared, exclusive):
        g = self.g
        is_manifest = g.get(f"R{op.r}{op.d}")
        # A manifest promises its closure; a blob only its name. What is below the manifest is neither locked nor looked at.
        names = [op.d]
        if is_manifest:
            names = self.closure(op.d) if self.v["head_touches_all"] else self.named(op.d)
        is_deep = self.v["head_deep"] and self.v["deep"]
        if exclusive & self.keys(*(names if is_deep else [op.d])):
            return
        if not (self.found if is_deep else self.is_there)(s.disk, op.r, op.d):
            yield f"HEAD {op.r}/{op.d}: 404", self.to(s, i, self.at(client, op.no)), None
            return
        # What a request has deleted is not promised.
        lacks = 0 if s.spoiled & is_manifest else g.lacks(s.disk, op.r, op.d)
        fault = f"1h HEAD says exists, but {g.facts(lacks)} is missing" if lacks else None
        promised = int(bool(client.promised or not s.spoiled & is_manifest))
        state = self.to(s, i, self.at(client, op.yes, promised=promised), **self.touch(s, names))
        yield f"HEAD {op.r}/{op.d}: exists", state, fault

    def commit(self, s, i, client, op, shared, exclusive):
        names = [op.d, self.g.target(op.d)]
        data, link = self.g.bit[f"D{names[1]}"], self.g.bit[f"L{op.r}{op.d}"]
        if client.step == 0:
            if not exclusive & self.keys(*names):
                yield f"commit {op.r}/{op.d}: locked", self.to(s, i, client._replace(step=1), **self.touch(s, names)), None
        elif client.step == 1:
            state = self.to(s, i, client._replace(step=2), disk=s.disk | data, durable=s.durable | data)
            yield "commit: data", state, None
        elif client.step == 2 and self.v["power"]:
            yield "commit: link", self.to(s, i, client._replace(step=3), disk=s.disk | link), None
        else:
            client = self.at(client, op.yes, promised=1)
            yield "commit: link, 201", self.to(s, i, client, disk=s.disk | link, durable=s.durable | link), None

    def resume(self, s, i, client, op, shared, exclusive):
        """Commit of a session that survives a restart."""
        opened, became, data = self.g.bit["S"], self.g.bit["K"], self.g.bit[f"D{op.d}"]
        link = self.g.bit[f"L{op.r}{op.d}"]
        if client.step == 0:
            if exclusive & self.keys(op.d):
                return
            if not s.disk & (opened | became):
                yield "commit: session unknown", self.to(s, i, self.at(client, op.no)), None
            elif s.disk & became and not s.disk & data:
                fault = None if client.excused else "7b the data of a session that was committing is gone"
                state = self.to(s, i, self.at(client, op.no), disk=s.disk & ~became, durable=s.durable & ~became)
                yield "commit: its data is gone", state, fault
            else:
                client = client._replace(step=1 if s.disk & opened else 2)
                yield f"commit {op.r}/{op.d}: locked", self.to(s, i, client, **self.touch(s, [op.d])), None
        elif client.step == 1:
            disk, durable = s.disk & ~opened | became | data, s.durable & ~opened | became | data
            yield "commit: data", self.to(s, i, client._replace(step=2), disk=disk, durable=durable), None
        elif client.step == 2:
            state = self.to(s, i, client._replace(step=3), disk=s.disk | link, durable=s.durable | link)
            yield "commit: link", state, None
        else:
            client = self.at(client, op.yes, promised=1)
            disk, durable = s.disk & ~became, s.durable & ~became
            yield "commit: session ended, 201", self.to(s, i, client, disk=disk, durable=durable), None

    def mount(self, s, i, client, op, shared, exclusive):
        link = self.g.bit[f"L{op.r}{op.d}"]
        if client.step == 0:
            if exclusive & self.keys(op.d):
                return
            if not self.found(s.disk, op.source, op.d):
                yield f"mount {op.d}: absent", self.to(s, i, self.at(client, op.no)), None
            else:
                yield f"mount {op.d}: locked, found", self.to(s, i, client._replace(step=1), **self.touch(s, [op.d])), None
        else:
            client = self.at(client, op.yes, promised=1)
            yield f"mount {op.d}: link, 201", self.to(s, i, client, disk=s.disk | link, durable=s.durable | link), None

    def restore(self, s, i, client, op, shared, exclusive):
        """A put of a manifest from the trash. One that is still there only needs a promise."""
        g = self.g
        record = g.bit[f"R{op.r}{op.d}"]
        if client.step == 0:
            if not s.disk & (g.get("X0I") | g.get("R0I")):
                yield "restore: not in the trash", self.to(s, i, Client()), None
                return
            if s.disk & record and not op.tags:
                names = self.closure(op.d)
                if not exclusive & self.keys(*names):
                    yield f"restore {op.d}: is there", self.to(s, i, self.at(client, op.yes), **self.touch(s, names)), None
                return
        yield from self.put(s, i, client, op, shared, exclusive)

    def put(self, s, i, client, op, shared, exclusive):
        step = client.step
        if step == 0 and (self.v["remember"] or self.v["look"] == "outside"):
            yield from self.read_closure(s, i, client, op)
        elif step <= 1:
            yield from self.enter(s, i, client, op, exclusive)
        elif step <= 3:
            yield from self.publish(s, i, client, op)
        elif step % 2 == 0:
            yield from self.move_tag(s, i, client, op, exclusive)
        else:
            yield from self.sync_tag(s, i, client, op)

    def read_closure(self, s, i, client, op):
        """Before the section. Children that are known to be complete are not read."""
        children = [n for n in self.g.needs[op.d] if n in self.g.needs]
        is_known = all(s.whole & self.g.get(f"R{op.r}{n}") for n in children)
        trusts = int(bool(self.v["remember"] and children and is_known))
        yield f"PUT {op.r}/{op.d}: reads the closure", self.to(s, i, client._replace(step=1, trusts=trusts, stale=0)), None

    def enter(self, s, i, client, op, exclusive):
        """Locks, touches, and looks."""
        g, v = self.g, self.v
        names = self.closure(op.d)
        label = f"PUT {op.r}/{op.d}"
        if exclusive & self.keys(*names):
            return
        if client.trusts and client.stale and v["check_stale"]:
            yield f"{label}: begins again", self.to(s, i, self.at(client, client.op)), None
            return
        touched = self.touch(s, names)
        # Of a child whose closure is known, only the child itself is looked at.
        looked = v["look"] == "outside" or all(
            self.is_there(s.disk, op.r, n) if client.trusts and n in g.needs else self.found(s.disk, op.r, n)
            for n in g.needs[op.d])
        if not looked or op.kind == "restore" and not s.disk & g.bit[f"D{op.d}"]:
            fault = None
            if op.kind == "restore" and not client.excused:
                fault = "4b a restore is refused because of the collector"
            elif client.promised and not client.excused:
                fault = f"7b a promise was broken: {label}"
            yield f"{label}: refused", self.to(s, i, self.at(client, op.no, promised=0), **touched), fault
            return
        # Whoever stored it may not have synced it.
        synced = set(names) if v["sync_closure"] else {n for d in g.needs[op.d] for n in (d, g.target(d))}
        relied = sum(g.get(f"{kind}{n}") for n in synced for kind in ("D", f"L{op.r}", f"R{op.r}"))
        state = self.to(s, i, client._replace(step=2), durable=s.durable | s.disk & relied, **touched)
        yield f"{label}: locked, found", state, None

    def publish(self, s, i, client, op):
        """Data, and then the record."""
        record, data = self.g.bit[f"R{op.r}{op.d}"], self.g.bit[f"D{op.d}"]
        label = f"PUT {op.r}/{op.d}"
        published = data if client.step == 2 else record
        s = s._replace(disk=s.disk | published, durable=s.durable | (published if self.v["ordered"] else 0))
        if client.step == 2:
            yield f"{label}: data", self.to(s, i, client._replace(step=3)), None
            return
        whole = s.whole | (record if self.v["remember"] and not client.stale else 0)
        s = s._replace(spoiled=s.spoiled & ~record, whole=whole)
        if op.tags:
            yield f"{label}: record", self.to(s, i, client._replace(step=4)), None
        else:
            yield f"{label}: record, 201", self.acknowledge(s, i, client, op), None

    def sync_tag(self, s, i, client, op):
        g, tag = self.g, op.tags[(client.step - 5) // 2]
        label = f"PUT {op.r}/{op.d}: tag {tag} durable"
        slot = sum(b for _, b in g.slots[op.r, tag])
        synced = slot | g.bit[f"R{op.r}{op.d}"] | g.bit[f"D{op.d}"]
        s = s._replace(durable=s.durable & ~slot | s.disk & synced, tagged=s.tagged | self.slot(op.r, tag))
        if (client.step - 3) // 2 < len(op.tags):
            yield label, self.to(s, i, client._replace(step=client.step + 1)), None
        else:
            yield f"{label}, 201", self.acknowledge(s, i, client, op), None

    def slot(self, r, tag):
        return 1 << list(self.g.slots).index((r, tag))

    def acknowledge(self, s, i, client, op):
        return self.to(s, i, self.at(client, op.yes), acked=s.acked | self.g.bit[f"R{op.r}{op.d}"])

    def is_tag_locked(self, s, i, r, tag):
        """True if another client has moved or deleted a tag, and this is not durable yet."""
        for j, other in enumerate(s.clients):
            if j == i or other.op is None:
                continue
            op = self.programs[j][0][other.op]
            locked = ""
            if op.kind in ("put", "restore") and other.step >= 5 and other.step % 2:
                locked = op.tags[(other.step - 5) // 2]
            elif op.kind == "delete tag" and other.step == 1:
                locked = op.tags
            if (op.r, locked) == (r, tag):
                return True
        return False

    def move_tag(self, s, i, client, op, exclusive):
        g = self.g
        tag = op.tags[(client.step - 4) // 2]
        if self.is_tag_locked(s, i, op.r, tag):
            return
        slot = g.slots[op.r, tag]
        left = [m for m, b in slot if s.disk & b and m != op.d]
        held = self.keys(*left) if self.v["old_target"] else 0
        if exclusive & held:
            # What the tag points at is being removed: without waiting, the section begins again.
            yield f"PUT {op.r}/{op.d}: begins again", self.to(s, i, self.at(client, client.op)), None
            return
        disk = s.disk & ~sum(b for _, b in slot) | g.bit[f"{tag}{op.r}{op.d}"]
        changes = dict(disk=disk)
        client = client._replace(step=client.step + 1, held=client.held | held)
        if left:
            client = client._replace(excused=1)
            changes.update(clients=self.excuse(s.clients), **self.release(s, self.closure(left[0])))
        yield f"PUT {op.r}/{op.d}: tag {tag}", self.to(s, i, client, **changes), None

    def forget(self, s, i, client, op, shared, exclusive):
        trash = self.g.all_trash
        state = self.to(s, i, Client(), disk=s.disk & ~trash, durable=s.durable & ~trash, **self.release_trash(s))
        yield "forgets the trash records", state, None

    def spoil(self, s, r, d):
        """A request deletes a part of these closures."""
        hit = self.g.mask(f"R{q}{m}" for q, m in self.g.records if q == r and d in self.g.below(m))
        return dict(acked=s.acked & ~hit, spoiled=s.spoiled | hit)

    def delete_manifest(self, s, i, client, op, shared, exclusive):
        g = self.g
        record, trash = g.bit[f"R{op.r}{op.d}"], g.bit[f"X{op.r}{op.d}"]
        label = f"DELETE {op.r}/{op.d}"
        if client.step == 0:
            if not s.disk & record:
                yield f"{label}: 404", self.to(s, i, Client()), None
            elif not (shared | exclusive) & self.keys(op.d):
                kept = s.kept & ~trash | (0 if self.trash_marks(op.r, op.d) & ~s.disk else trash)
                tagged = s.tagged & ~sum(
                    self.slot(r, t) for (r, t), slot in g.slots.items() if r == op.r and any(
                        m == op.d and s.disk & b for m, b in slot))
                state = self.to(
                    s, i, client._replace(step=1, excused=1), clients=self.excuse(s.clients), kept=kept, tagged=tagged,
                    disk=s.disk | trash, durable=s.durable | trash, **self.spoil(s, op.r, op.d))
                yield f"{label}: trash record", state, None
        elif client.step == 1:
            tags = g.tags_of(op.r, op.d)
            state = self.to(s, i, client._replace(step=2), disk=s.disk & ~tags, durable=s.durable & ~tags)
            yield f"{label}: tags", state, None
        else:
            state = self.to(
                s, i, Client(), disk=s.disk & ~record, durable=s.durable & ~record, **self.removed(s, op.d, s.clients),
                **self.release(s, self.closure(op.d)))
            yield f"{label}: record, 202", state, None

    def delete_tag(self, s, i, client, op, shared, exclusive):
        g = self.g
        slot = g.slots[op.r, op.tags]
        if client.step == 1:
            durable = s.durable & ~sum(b for _, b in slot) | s.disk & sum(b for _, b in slot)
            yield "DELETE tag: durable, 202", self.to(s, i, Client(), durable=durable), None
            return
        if self.is_tag_locked(s, i, op.r, op.tags):
            return
        target = [(m, b) for m, b in slot if s.disk & b]
        if not target:
            yield "DELETE tag: 404", self.to(s, i, Client()), None
            return
        (m, b), = target
        held = self.keys(m) if self.v["old_target"] else 0
        if exclusive & held:
            return
        state = self.to(
            s, i, client._replace(step=1, held=held), clients=self.excuse(s.clients), disk=s.disk & ~b,
            tagged=s.tagged & ~self.slot(op.r, op.tags), **self.release(s, self.closure(m)))
        yield f"DELETE tag {op.tags}", state, None

    def delete_blob(self, s, i, client, op, shared, exclusive):
        link = self.g.bit[f"L{op.r}{op.d}"]
        names = [op.d, self.g.target(op.d)]
        if not s.disk & link:
            yield "DELETE blob: 404", self.to(s, i, Client()), None
        elif not (shared | exclusive) & self.keys(*names):
            hit = self.g.mask(f"X{r}{m}" for r, m in self.g.records if r == op.r and op.d in self.g.below(m))
            state = self.to(
                s, i, Client(), disk=s.disk & ~link, durable=s.durable & ~link, kept=s.kept & ~hit,
                **self.removed(s, op.d, self.excuse(s.clients)), **self.spoil(s, op.r, op.d), **self.release(s, names))
            yield f"DELETE blob {op.r}/{op.d}", state, None
