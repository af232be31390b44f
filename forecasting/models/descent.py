"""Adam and the plateau rule, over plain tensors.

`torch.optim` imports torch's compiler the first time that an optimizer is made, which takes longer (4 s here) than half
a fit of the default net. A test holds this Adam against torch's.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class Adam:
    """Adam (Kingma and Ba, arXiv:1412.6980, algorithm 1) with its usual constants."""

    _FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float) -> None:
        self.rate = rate
        self._steps = 0
        self._parts = [(part, torch.zeros_like(part), torch.zeros_like(part)) for part in parameters]

    def zero_grad(self) -> None:
        """Forget the gradients of the step before."""
        for part, _, _ in self._parts:
            part.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        self._steps += 1
        first_bias = 1 - self._FIRST**self._steps
        second_bias = 1 - self._SECOND**self._steps
        for part, first, second in self._parts:
            if part.grad is None:
                continue
            first.lerp_(part.grad, 1 - self._FIRST)
            second.mul_(self._SECOND).addcmul_(part.grad, part.grad, value=1 - self._SECOND)
            part.addcdiv_(first, (second / second_bias).sqrt_().add_(self._EPSILON), value=-self.rate / first_bias)


class Plateau:
    """Lower the rate of an Adam when the loss has not fallen for more than `patience` epochs."""

    _LEAST_RATE = 1e-6

    def __init__(self, adam: Adam, *, factor: float, patience: int) -> None:
        self._adam = adam
        self._factor = factor
        self._patience = patience
        self._best = float("inf")
        self._waited = 0

    def step(self, loss: float) -> None:
        """Learn the loss of one more epoch."""
        if loss < self._best * (1 - 1e-4):
            self._best, self._waited = loss, 0
            return
        self._waited += 1
        if self._waited > self._patience:
            self._adam.rate = max(self._adam.rate * self._factor, self._LEAST_RATE)
            self._waited = 0
