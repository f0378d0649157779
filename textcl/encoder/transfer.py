"""Arrays of the host → tensors on a device."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def send(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return the array as a tensor on a device, without waiting for what the device does meanwhile.

    A copy from memory that the system may move would wait for all that was asked of a GPU before.

    Args:
        array: Of any shape; on a CPU the tensor shares its memory.
        device: Where to.
    """
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
