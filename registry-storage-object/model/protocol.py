"""The protocol as a state machine, and its exploration."""

from checks import Checks
from clients import Clients
from collector import Collectors
from facts import GRAPHS, PROTOCOL, SITUATION, Client, Collector, State


class Model(Clients, Collectors, Checks):
    """A case: what lies in the bucket, what clients do, and the steps of collectors."""

    def __init__(self, case):
        self.case, self.v = case, {**SITUATION, **PROTOCOL, **case.options}
        self.g = GRAPHS[self.v["graph"]]
        self.programs = case.programs
        self.hidden = self.g.mask(self.v["hidden"].split()) if self.v["hidden"] else 0
        self.faults = {}

    def initial(self):
        g, v = self.g, self.v
        disk = g.mask(self.case.disk.split())
        tagged = sum(1 << n for n, slot in enumerate(g.slots.values()) if disk & slot)
        clients = tuple(Client(op=start, lost=v["lost"]) for _, start in self.programs)
        first = Collector("start", lost=v["lost"])
        collectors = (first,) + tuple(Collector("off", lost=v["lost"]) for _ in range(v["collectors"] - 1))
        return State(
            disk, 0, 0, 0, (0,) * (v["epochs"] + 1), (0,) * len(g.batches), 0, (), clients, collectors, tagged, 0, 0,
            disk & g.of_kind["X"], spare=(v["doubled"], v["omits"]))

    def steps(self, s):
        for i in range(len(s.clients)):
            yield from self.requests(s, i)
        for j in range(len(s.collectors)):
            yield from self.turn(s, j)
        yield from self.land(s)
        yield from self.tick(s)

    def explore(self, limit=6_000_000):
        """Returns the number of states, the fault, and the trace to it."""
        first = self.initial()
        number, order, parents = {first: 0}, [first], [(-1, "")]
        only = self.v["only"]

        def trace(n, last):
            labels = [last] if last else []
            while n > 0:
                labels.append(parents[n][1])
                n = parents[n][0]
            return labels[::-1]

        for n, s in enumerate(order):
            for label, state in self.steps(s):
                fault = self.g.subjects and self.removal_fault(s, state)
                if fault and not (only and not fault.startswith(only)):
                    return len(order), fault, trace(n, label)
                if state in number:
                    continue
                number[state] = len(order)
                order.append(state)
                parents.append((n, label))
                fault = self.broken(state) or self.rest_fault(state)
                if fault and not (only and not fault.startswith(only)):
                    return len(order), fault, trace(n, label)
            if len(order) > limit:
                return len(order), "too many states", []
        return self.ended(order, trace)

    def ended(self, order, trace):
        """The result of an exploration without a fault: do all runs and pushes come to an end?"""
        if self.v["ends"]:
            alone = Model(self.case._replace(options={**self.case.options, "ends": 2}))
            for number, pushes in (("5", False), ("7", True)):
                stuck = alone.settled(order, pushes)
                if stuck is not None:
                    return len(order), f"{number} no end, or garbage is left, from {stuck}", []
        return len(order), None, []
