"""A moving average of the weights, to evaluate and to keep in place of the last step's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from textcl.errors import ConfigError


class WeightAverage:
    """Exponential moving average of a module's trainable parameters.

    torch.optim.swa_utils.AveragedModel copies the whole module, frozen weights too, and does not swap back.

    Args:
        module: What is averaged, on its device already; the parameters that need gradients now are followed.
        decay: Share of the average that is kept at each update, in [0, 1); 0 has the newest weights.

    Raises:
        ConfigError: If `decay` is out of range.

    References:
        Polyak and Juditsky (1992), doi:10.1137/0330046; Izmailov et al. (2018), arXiv:1803.05407.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ConfigError("decay", decay, "a share in [0, 1)")
        self.decay, self.updates = decay, 0
        self._parameters = {name: one for name, one in module.named_parameters() if one.requires_grad}
        # Half precision could not hold steps as small as those of an average.
        self._averages = {
            name: one.detach().to(torch.promote_types(one.dtype, torch.float32), copy=True)
            for name, one in self._parameters.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Set average = kept * average + (1 - kept) * weights, with kept = min(decay, (1 + n) / (10 + n)).

        n is the number of updates before this one, so that the first weights are soon forgotten.
        """
        kept = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages = list(self._averages.values())
        newest = [self._parameters[name].to(average) for name, average in self._averages.items()]
        if averages:
            torch._foreach_lerp_(averages, newest, 1 - kept)
        self.updates += 1

    @torch.no_grad()
    def apply(self) -> None:
        """Give the module the averaged weights for good; before any update these are the first ones."""
        for name, average in self._averages.items():
            self._parameters[name].copy_(average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the module the averaged weights for the length of a `with`, and its own back, whatever happens there."""
        own = {name: one.detach().clone() for name, one in self._parameters.items()}
        try:
            self.apply()
            yield
        finally:
            with torch.no_grad():
                for name, weights in own.items():
                    self._parameters[name].copy_(weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the averages by name, not copied, and the number of updates."""
        return {"updates": self.updates, "averages": self._averages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the averages of another run of the same module.

        Raises:
            ValueError: If the state is of other parameters; the averages are as they were then.
        """
        theirs: dict[str, Tensor] = state["averages"]
        if {name: one.shape for name, one in theirs.items()} != {
            name: one.shape for name, one in self._averages.items()
        }:
            raise ValueError("the averages are of other parameters")
        for name, average in self._averages.items():
            average.copy_(theirs[name])
        self.updates = int(state["updates"])
