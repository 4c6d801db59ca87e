"""The network of an array as a netlist of resistors, solved by dense nodal analysis."""

import itertools

import numpy as np


class Netlist:
    """Resistors between named nodes; one of 0 ohm makes its two nodes the same."""

    def __init__(self):
        self.same, self.conductors = {}, []

    def find(self, node):
        while self.same.get(node, node) != node:
            node = self.same[node]
        return node

    def resistor(self, a, b, ohm):
        if ohm == 0:
            self.same[self.find(a)] = self.find(b)
        else:
            self.conductors.append((a, b, 1 / ohm))

    def conductor(self, a, b, siemens):
        if siemens:
            self.conductors.append((a, b, siemens))

    def solve(self, held):
        """Return the voltage of every node for nodes held at voltages."""
        fixed = {self.find(node): volt for node, volt in held.items()}
        nodes = {self.find(n) for a, b, _ in self.conductors for n in (a, b)} - fixed.keys()
        place = {node: k for k, node in enumerate(sorted(nodes, key=str))}
        matrix, right = np.zeros((len(place), len(place))), np.zeros(len(place))
        for a, b, siemens in self.conductors:
            for here, there in ((self.find(a), self.find(b)), (self.find(b), self.find(a))):
                if here in place:
                    matrix[place[here], place[here]] += siemens
                    if there in place:
                        matrix[place[here], place[there]] -= siemens
                    else:
                        right[place[here]] += siemens * fixed[there]
        volts = np.linalg.solve(matrix, right)
        known = {node: float(volts[k]) for node, k in place.items()} | fixed
        return lambda node: known[self.find(node)]


def array(g, row, column, source, sink, both_ends=False, load=None):
    """An array of cells g (rows, columns); `load` conductances are at the feet of the columns."""
    net, (rows, columns) = Netlist(), g.shape
    for i in range(rows):
        net.resistor(("driver", i), ("u", i, 0), source)
        if both_ends:
            net.resistor(("driver", i), ("u", i, columns - 1), source)
        for j in range(columns - 1):
            net.resistor(("u", i, j), ("u", i, j + 1), row)
    for j in range(columns):
        net.resistor(("w", rows - 1, j), ("foot", j), sink)
        for i in range(rows - 1):
            net.resistor(("w", i, j), ("w", i + 1, j), column)
        if load is not None:
            net.conductor(("foot", j), "ground", load[j])
    for i, j in itertools.product(range(rows), range(columns)):
        net.conductor(("u", i, j), ("w", i, j), g[i, j])
    return net


def gated(g, opened, segment, terminal, volt=1.0):
    """Current of one gated column g (rows,): a source line and a column, both ending below."""
    net, rows = Netlist(), len(g)
    net.resistor("supply", ("u", rows - 1), terminal[0])
    net.resistor(("w", rows - 1), "ground", terminal[1])
    for i in range(rows - 1):
        net.resistor(("u", i), ("u", i + 1), segment[0])
        net.resistor(("w", i), ("w", i + 1), segment[1])
    for i in range(rows):
        net.conductor(("u", i), ("w", i), g[i] * opened[i])
    at = net.solve({"supply": volt, "ground": 0.0})
    return sum(g[i] * opened[i] * (at(("u", i)) - at(("w", i))) for i in range(rows) if opened[i])


def currents(g, volts, *lines, both_ends=False):
    """Currents of all columns at virtual grounds."""
    net = array(g, *lines, both_ends=both_ends)
    held = {("driver", i): v for i, v in enumerate(volts)}
    held |= {("foot", j): 0.0 for j in range(g.shape[1])}
    at = net.solve(held)
    rows, columns = g.shape
    return np.array([
        sum(g[i, j] * (at(("u", i, j)) - at(("w", i, j))) for i in range(rows))
        for j in range(columns)
    ])  # fmt: skip


def matrix(g, *lines, both_ends=False, load=None):
    """Currents, or voltages of loaded feet, per volt on each row: (columns, rows)."""
    rows, columns = g.shape
    if load is None:
        units = np.eye(rows)
        return np.stack([currents(g, v, *lines, both_ends=both_ends) for v in units], axis=1)
    found = []
    for v in np.eye(rows):
        net = array(g, *lines, both_ends=both_ends, load=load)
        held = {("driver", i): volt for i, volt in enumerate(v)} | {"ground": 0.0}
        at = net.solve(held)
        found.append([at(("foot", j)) for j in range(columns)])
    return np.array(found).T
