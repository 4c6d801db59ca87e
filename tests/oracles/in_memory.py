"""Literal loops of the buffered in-memory algorithms, cell by cell, on ideal linear arrays.

Gradients move an array exactly; a transfer moves it by whole steps. Sources: Gokmen, Front. Artif.
Intell. 4:699148 (2021); Rasch et al., Nat. Commun. 15:7133 (2024), arXiv 2303.04721; Nandakumar et
al., Front. Neurosci. 14:406 (2020); Wu et al., arXiv 2502.06309.
"""

import math

import numpy as np


class Buffered:
    """Arrays A and C, buffer H, choppers, one column read per step; AGAD with `reference`."""

    def __init__(self, start, eps, **options):
        self.out, self.inputs = start.shape
        self.C, self.A, self.H = start.copy(), np.zeros_like(start), np.zeros_like(start)
        self.c_in, self.c_out = np.ones(self.inputs), np.ones(self.out)
        self.M, self.P = np.zeros_like(start), np.zeros_like(start)
        self.reads = np.zeros(self.inputs, int)
        self.eps, self.o, self.j = eps, options, 0
        self.m_x = self.m_d = None

    def step(self, x, d, lr):
        """One mini-batch x (n, in), d (n, out)."""
        o = self.o
        top_x, top_d = np.abs(x).max(), np.abs(d).max()
        tau = 1 - o["auto_momentum"]
        self.m_x = top_x if self.m_x is None else (1 - tau) * self.m_x + tau * top_x
        self.m_d = top_d if self.m_d is None else (1 - tau) * self.m_d + tau * top_d
        rate = o["fast"] * o["slots"] * self.eps / (self.m_x * self.m_d)
        for n in range(len(x)):
            for i in range(self.out):
                for k in range(self.inputs):
                    self.A[i, k] -= rate * self.c_out[i] * d[n, i] * self.c_in[k] * x[n, k]
        self._transfer(lr)

    def _transfer(self, lr):
        o, j = self.o, self.j
        b = o["buffer"] * self.eps
        if o["auto"]:
            b *= o["auto"] / self.inputs
        period = max(math.ceil(1 / o["chop"]), 2) if o["chop"] else 0
        y = self.A[:, j].copy()
        writes = True
        if o["reference"]:
            if period and self.reads[j] and self.reads[j] % period == 0:
                self.P[:, j] = self.M[:, j]
            writes = self.reads[j] >= period
            signal = y - self.P[:, j]
            rho = min(o["tail"] / period, 1.0)
            self.M[:, j] = (1 - rho) * self.M[:, j] + rho * y
        else:
            signal = y
        for i in range(self.out):
            if not writes:
                continue
            w = self.H[i, j] + lr / b * self.c_in[j] * self.c_out[i] * signal[i]
            if abs(w) >= 1:
                n = 1.0 if w > 0 else -1.0
                self.C[i, j] += n * self.eps
                w = o["momentum"] * w if o["forget"] else w - (1 - o["momentum"]) * n
            self.H[i, j] = w
        self.reads[j] += 1
        if period and self.reads[j] % period == 0:
            self.c_in[j] *= -1
        self.j = (j + 1) % self.inputs


def residual_v2(W, gradients, alpha, beta, eps):
    """P, H and W after a sequence of exact gradients (out, in) of all cells."""
    P, H, W = np.zeros_like(W), np.zeros_like(W), W.copy()
    for g in gradients:
        P = P - alpha * g
        H = (1 - beta) * H + beta * P
        for index in np.ndindex(*W.shape):
            if abs(H[index]) >= eps:
                sign = math.copysign(1.0, H[index])
                W[index] += sign * eps
                H[index] -= sign * eps
    return P, H, W


def mixed_precision(W, gradients, rate, eps, every):
    """chi and W after a sequence of exact gradients (out, in)."""
    chi, W = np.zeros_like(W), W.copy()
    for step, g in enumerate(gradients, 1):
        chi = chi - rate * g
        if step % every:
            continue
        for index in np.ndindex(*W.shape):
            n = math.trunc(chi[index] / eps)
            chi[index] -= n * eps
            W[index] += n * eps
    return chi, W
