"""Put a function mode at the bottom of torch's stack of modes, and take it out again, wherever it is."""

from __future__ import annotations

import torch
from torch.overrides import TorchFunctionMode


def enter(mode: TorchFunctionMode) -> None:
    """Put a mode at the bottom of the stack of modes, so that those of the person come and go above it.

    Only the context of ``torch.set_default_device`` stays below: it insists on being the lowest.
    """
    default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    above = []
    while torch._C._len_torch_function_stack():
        other = torch._C._pop_torch_function_stack()
        if other is default and default is not None:
            torch._C._push_on_torch_function_stack(other)
            break
        if other is not mode:
            above.append(other)
    torch._C._push_on_torch_function_stack(mode)
    for other in reversed(above):
        torch._C._push_on_torch_function_stack(other)


def leave(mode: TorchFunctionMode) -> bool:
    """Take a mode out of the stack, wherever it is; whether it was there."""
    depth = torch._C._len_torch_function_stack()
    if not any(torch._C._get_function_stack_at(place) is mode for place in range(depth)):
        return False
    above = []
    while (other := torch._C._pop_torch_function_stack()) is not mode:
        above.append(other)
    for other in reversed(above):
        torch._C._push_on_torch_function_stack(other)
    return True
