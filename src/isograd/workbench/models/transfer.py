"""Start from weights that were trained before, and keep parts of a network as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from isograd.errors import Fault, ModelError, did_you_mean


def load_weights(model: nn.Module, file: Path, *, fresh: Sequence[str] = ()) -> None:
    """Fill ``model`` from a .safetensors file, all but the parts named ``fresh``, which keep what they have.

    Raises ``ModelError``: a file that cannot be read, or every tensor that is missing, unknown or of another shape.
    """
    try:
        tensors = load_file(file)
    except FileNotFoundError:
        raise ModelError(f"there is no weights file {file.name}", where=str(file)) from None
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file.name} is no weights file: {error}", where=str(file), remedy="a .safetensors file") from error
    known_parts(model, fresh, "fresh")
    own = {name: tensor for name, tensor in model.state_dict().items() if not within(name, fresh)}
    given = {name: tensor for name, tensor in tensors.items() if not within(name, fresh)}
    faults = [_odd(name, file, own.get(name), given.get(name), given) for name in dict.fromkeys([*own, *given])]
    if found := [fault for fault in faults if fault is not None]:
        raise ModelError(found)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(given[name])


def weights_bytes(model: nn.Module) -> bytes:
    """A model's numbers as the bytes of a .safetensors file, from which ``load_weights`` fills another one."""
    return save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()})


def freeze(model: nn.Module, parts: Sequence[str]) -> None:
    """Take the parameters of some ``parts`` out of the training, and their batch norms out of training mode.

    A batch norm in training mode would divide by other statistics than those it was trained with. Raises ``ModelError`` for a
    part that is not there.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    >>> freeze(net, ["0"])
    >>> [parameter.requires_grad for parameter in net.parameters()]
    [False, False, True, True]
    """
    known_parts(model, parts, "freeze")
    for name, parameter in model.named_parameters():
        if within(name, parts):
            parameter.requires_grad_(False)
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and within(name, parts):
            module.eval()


def within(name: str, parts: Sequence[str]) -> bool:
    """Whether a tensor is one of ``parts`` or belongs to one.

    >>> within("body.0.weight", ["body"]), within("body2.weight", ["body"])
    (True, False)
    """
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _odd(
    name: str, file: Path, own: torch.Tensor | None, given: torch.Tensor | None, known: dict[str, torch.Tensor]
) -> Fault | None:
    part = name.split(".")[0]
    way = f'fresh = ["{part}"] under [model] leaves {part} as it is'
    if own is None:
        return Fault(f"{file.name} holds {name}, which the network has not", "model.weights", remedy=way)
    if given is None:
        return Fault(f"{file.name} does not hold {name}", "model.weights", remedy=did_you_mean(name, known) or way)
    if own.shape != given.shape:
        met = f"{tuple(given.shape)} in the file, {tuple(own.shape)} in the network"
        return Fault(f"{name} has another shape", "model.weights", met, way)
    return None


def known_parts(model: nn.Module, parts: Sequence[str], key: str) -> None:
    """Raise ``ModelError`` for every one of ``parts`` that the network has not, with a did-you-mean."""
    known = [name for name, _ in (*model.named_modules(), *model.named_parameters()) if name]
    faults = [
        Fault(
            f"the network has no part {part!r}",
            f"model.{key}",
            f"parts: {', '.join(name for name, _ in model.named_children())}",
            did_you_mean(part, known),
        )
        for part in parts
        if part not in known
    ]
    if faults:
        raise ModelError(faults)
