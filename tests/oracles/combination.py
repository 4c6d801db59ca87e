"""Literal loops of circuits whose cells add up in other ways than by currents, in NumPy."""

import numpy as np


def ladder_nodes(
    bit: np.ndarray, coupling: np.ndarray, termination: float, parasitic: float, code: int
) -> float:
    """Output of one C-2C ladder for a drive of 1, by charge balance on every node.

    All nodes start without charge. Node k: bit_k (V_k - code_k) + parasitic V_k + coupling to its
    neighbors, and the termination on node 0, add to zero.
    """
    n = len(bit)
    matrix, right = np.zeros((n, n)), np.zeros(n)
    for k in range(n):
        matrix[k, k] += bit[k] + parasitic + (termination if k == 0 else 0.0)
        right[k] = bit[k] * (code >> k & 1)
        if k + 1 < n:
            matrix[k, k] += coupling[k]
            matrix[k + 1, k + 1] += coupling[k]
            matrix[k, k + 1] -= coupling[k]
            matrix[k + 1, k] -= coupling[k]
    return float(np.linalg.solve(matrix, right)[-1])


def shared_ladders(
    codes: np.ndarray, drives: np.ndarray, bits: int, line: float, parasitic: float = 0.0
) -> float:
    """Voltage of a line of capacitance `line` that ladders with their codes and drives share.

    One system of all nodes of all ladders, whose last nodes are one and the same.
    """
    size = len(codes) * (bits - 1) + 1
    matrix, right = np.zeros((size, size)), np.zeros(size)
    matrix[-1, -1] = line
    for ladder, (code, drive) in enumerate(zip(codes, drives, strict=True)):
        nodes = [ladder * (bits - 1) + k for k in range(bits - 1)] + [size - 1]
        for k, node in enumerate(nodes):
            matrix[node, node] += 1 + parasitic + (1 if k == 0 else 0)
            right[node] += drive * (int(code) >> k & 1)
            if k + 1 < bits:
                after = nodes[k + 1]
                matrix[node, node] += 2
                matrix[after, after] += 2
                matrix[node, after] -= 2
                matrix[after, node] -= 2
    return float(np.linalg.solve(matrix, right)[-1])


def nonlinearity(levels: np.ndarray) -> tuple[float, float]:
    """Largest |INL| and |DNL| of the outputs of all codes, in steps between the first and last."""
    step = (levels[-1] - levels[0]) / (len(levels) - 1)
    inl = (levels - levels[0]) / step - np.arange(len(levels))
    dnl = np.diff(levels) / step - 1
    return float(np.abs(inl).max()), float(np.abs(dnl).max())


def line_voltage(conductances: np.ndarray, drives: np.ndarray, load: float) -> float:
    """Voltage of a line without a virtual ground, by Kirchhoff's current law."""
    into = out = 0.0
    for g, v in zip(conductances, drives, strict=True):
        into += g * v
        out += g
    return into / (out + load)


def series_resistance(
    first: np.ndarray, second: np.ndarray, inputs: np.ndarray, on_resistance: float
) -> float:
    """Resistance of cells in series; an input of +1 opens the first path of a cell."""
    total = 0.0
    for a, b, x in zip(first, second, inputs, strict=True):
        total += 1 / (a if x > 0 else b) + on_resistance
    return total
