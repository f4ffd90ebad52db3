"""From a family's name and its options to a network with weights drawn from a seed."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isograd.errors import ModelError
from isograd.workbench.models.bag import Bag
from isograd.workbench.models.bagging import Bagging
from isograd.workbench.models.cnn import CNN
from isograd.workbench.models.crnn import CRNN
from isograd.workbench.models.initialise import HE_GAIN, initialise
from isograd.workbench.models.linear import Linear
from isograd.workbench.models.mlp import MLP
from isograd.workbench.models.mobilenet import MobileNet
from isograd.workbench.models.options import STEPS, TOKENS, checked
from isograd.workbench.models.own import made_by
from isograd.workbench.models.recurrent import Recurrent
from isograd.workbench.models.resnet import ResNet
from isograd.workbench.models.tabular import Tabular
from isograd.workbench.models.tcn import TCN
from isograd.workbench.models.text_cnn import TextCNN
from isograd.workbench.models.transformer import Transformer

ACTIVATION: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
_FLAT_NORM: dict[str, Callable[[int], nn.Module] | None] = {"none": None, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
_IMAGE_NORM: dict[str, Callable[[int], nn.Module] | None] = {
    "none": None,
    "batch": nn.BatchNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),  # over channels and pixels of one example
}


_PICTURES = ("cnn", "resnet", "mobilenet", "crnn")


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What a network may have to know of its inputs beside their shape.

    ``vocabulary`` is the number of tokens of a text, 0 where there are none to read. Of a table: the features that are
    ``numbers``, the ``categories`` as (feature, values and one more for those never seen), and training ``rows``. Of
    sequences: whether they are ``ragged``, so that the last feature says where they end; whether ``each`` step has an answer.
    """

    vocabulary: int = 0
    numbers: tuple[int, ...] = ()
    categories: tuple[tuple[int, int], ...] = ()
    rows: torch.Tensor | None = None
    ragged: bool = False
    each: bool = False


class Frames(nn.Module):
    """Spectra (B, 1, M, T) as sequences of T frames with M bands each (B, T, M)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, M, T) -> (B, T, M)."""
        return x[:, 0].transpose(1, 2)


def build(
    kind: str,
    *,
    inputs: tuple[int, ...],
    outputs: int,
    options: Mapping[str, object] | None = None,
    seed: int,
    known: Known = Known(),
    base: Path | None = None,
) -> nn.Module:
    """A network of the family ``kind`` ("mlp", "lstm", ...; ``OPTIONS`` has them all) on the CPU, in training mode.

    ``inputs`` is the shape of one example ((features,), (tokens,), (steps, features) or (channels, height, width)),
    ``outputs`` the number of classes or values, ``known`` what else the data says. The weights depend on ``seed`` alone (and
    the bins of a tabular network on the rows); the global generators stay as they are. ``kind`` may be "module:function": it
    is looked for in the folder ``base`` first and called as function(inputs, outputs, **options).

    Raises ``ModelError``: unknown family or option, wrong type, images too small for the network, inputs without an image.

    >>> build("mlp", inputs=(64,), outputs=10, options={"hidden": [32]}, seed=0)(torch.zeros(2, 64)).shape
    torch.Size([2, 10])
    """
    if ":" in kind:
        with _seeded(seed):
            answers = (inputs[0], outputs) if known.each else (outputs,)
            return made_by(kind, base, inputs, outputs, options or {}, known.rows, answers)
    settings = checked(kind, options or {})
    _fits(kind, inputs, outputs, settings, known)
    return _drawn(kind, inputs, outputs, settings, seed, known)


def _drawn(
    kind: str, inputs: tuple[int, ...], outputs: int, settings: dict[str, Any], seed: int, known: Known, device: str = "cpu"
) -> nn.Module:
    """The network of settings that were checked; on the device "meta" it has shapes and no numbers."""
    activation, rule = settings.get("activation", ""), ""
    if "norm" in settings:
        settings["norm"] = (_FLAT_NORM if kind == "mlp" else _IMAGE_NORM)[settings["norm"]]
        rule = settings.pop("initialisation")
    if "mirror" in settings:
        settings["mirror"] = settings["mirror"] == "yes"
    if activation:
        settings["activation"] = ACTIVATION[activation]
    if kind == "text-cnn":
        settings["gain"] = HE_GAIN.get(activation, 1.0)
    with _seeded(seed, device):
        model = _FAMILY[kind](inputs, outputs, settings, known)
        if rule and device == "cpu":  # the other families draw their own
            initialise(model, rule, activation, torch.Generator().manual_seed(seed))
    if kind in _PICTURES:  # kernels in the order in which convolutions on CPUs read them: the same numbers, a third faster
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def size_of_weights(
    kind: str,
    *,
    inputs: tuple[int, ...],
    outputs: int,
    options: Mapping[str, object] | None = None,
    known: Known = Known(),
) -> int:
    """Bytes that the weights of a family's network take, told without making them; 0 for a person's own, which may do anything.

    >>> size_of_weights("mlp", inputs=(64,), outputs=10, options={"hidden": [65536, 65536]}) // 2**30
    16
    """
    if ":" in kind:
        return 0
    settings = checked(kind, options or {})
    _fits(kind, inputs, outputs, settings, known)
    shapes = _drawn(kind, inputs, outputs, settings, 0, replace(known, rows=None), "meta")  # rows move borders, not shapes
    return sum(parameter.nbytes for parameter in shapes.parameters())


@contextlib.contextmanager
def _seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Constructors draw from the global generator of the CPU: lend it our seed, then give it back as it was."""
    state = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        with torch.device(device):
            yield
    finally:
        torch.set_rng_state(state)


def least_rows(model: nn.Module) -> int:
    """The fewest rows that a training batch may have: two where a batch is normalised by its own statistics, else one.

    >>> least_rows(build("mlp", inputs=(3,), outputs=1, options={"norm": "batch"}, seed=0))
    2
    """
    if isinstance(model, Bagging):
        return len(model.members) * least_rows(model.members[0])
    return 2 if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()) else 1


def _mlp(inputs: tuple[int, ...], outputs: int, settings: dict[str, Any], known: Known) -> nn.Module:
    hidden, depth, width = (settings.pop(name) for name in ("hidden", "depth", "width"))
    if depth is not None:
        hidden = (width or 128,) * depth
    elif hidden is None:
        hidden = (width,) * 2 if width else (256, 128)
    return MLP(int(torch.Size(inputs).numel()), outputs, hidden, **settings)


def _picture(inputs: tuple[int, ...]) -> tuple[int, int, int]:
    return (inputs[0], inputs[1], inputs[2])


def _recurrent(cell: Any) -> Callable[[tuple[int, ...], int, dict[str, Any], Known], nn.Module]:
    def made(inputs: tuple[int, ...], outputs: int, settings: dict[str, Any], known: Known) -> nn.Module:
        settings["identity"] = settings.pop("initialisation", "") == "identity"
        if known.vocabulary:
            return Recurrent(known.vocabulary, outputs, cell, **settings)
        settings.update(ragged=known.ragged, each=known.each)
        return _of_steps(
            inputs, lambda steps, features: Recurrent(0, outputs, cell, features=features, length=steps, **settings)
        )

    return made


def _tcn(inputs: tuple[int, ...], outputs: int, settings: dict[str, Any], known: Known) -> nn.Module:
    settings.update(ragged=known.ragged, each=known.each)
    return _of_steps(inputs, lambda steps, features: TCN(steps, features, outputs, **settings))


def _of_steps(inputs: tuple[int, ...], made: Callable[[int, int], nn.Module]) -> nn.Module:
    """A network for sequences; the frames of a spectrum are one."""
    if len(inputs) == 3:
        return nn.Sequential(OrderedDict(frames=Frames(), network=made(inputs[2], inputs[1])))
    return made(inputs[0], inputs[1])


_FAMILY: dict[str, Callable[[tuple[int, ...], int, dict[str, Any], Known], nn.Module]] = {
    "mlp": _mlp,
    "linear": lambda inputs, outputs, settings, known: Linear(int(torch.Size(inputs).numel()), outputs),
    "tabular": lambda inputs, outputs, settings, known: Tabular(
        inputs[0], outputs, numbers=known.numbers, categories=known.categories, rows=known.rows, **settings
    ),
    "bag": lambda inputs, outputs, settings, known: Bag(known.vocabulary, outputs, **settings),
    "text-cnn": lambda inputs, outputs, settings, known: TextCNN(known.vocabulary, outputs, **settings),
    "rnn": _recurrent("rnn"),
    "gru": _recurrent("gru"),
    "lstm": _recurrent("lstm"),
    "tcn": _tcn,
    "transformer": lambda inputs, outputs, settings, known: Transformer(known.vocabulary, outputs, inputs[0], **settings),
    "cnn": lambda inputs, outputs, settings, known: CNN(_picture(inputs), outputs, **settings),
    "mobilenet": lambda inputs, outputs, settings, known: MobileNet(_picture(inputs), outputs, **settings),
    "crnn": lambda inputs, outputs, settings, known: CRNN(_picture(inputs), outputs, **settings),
    "resnet": lambda inputs, outputs, settings, known: ResNet(_picture(inputs), outputs, **settings),
}


def _fits(kind: str, inputs: tuple[int, ...], outputs: int, settings: Mapping[str, Any], known: Known) -> None:
    if outputs < 1 or not inputs or min(inputs) < 1:
        raise ModelError(f"a {kind} cannot go from inputs of shape {inputs} to {outputs} outputs", where="model")
    if kind in STEPS and not known.vocabulary and (len(inputs) == 2 or (len(inputs) == 3 and inputs[0] == 1)):
        if settings.get("width") is not None:
            raise ModelError("width is the embedding of a word, and these are quantities", where="model.width", remedy="units")
        return
    if kind == "tcn":
        raise ModelError(
            f"a tcn reads sequences of quantities, and an example here has the shape {inputs}",
            where="model.kind",
            remedy='task = "sequence-classification"',
        )
    if known.each and kind not in STEPS:
        raise ModelError(
            f"a {kind} gives one answer for a whole sequence, and here every step has one",
            where="model.kind",
            remedy=f'kind = "tcn" (or {", ".join(STEPS[:-1])})',
        )
    if kind in TOKENS and (len(inputs) != 1 or not known.vocabulary):
        raise ModelError(
            f"a {kind} reads texts as sequences of tokens, and an example here has the shape {inputs}",
            where="model.kind",
            remedy='task = "text-classification"',
        )
    if kind == "tabular" and len(inputs) != 1:
        raise ModelError(f"a tabular network takes rows of a table, not {inputs}", where="model.kind", remedy='kind = "cnn"')
    if kind in ("mlp", "linear") and (known.categories or known.vocabulary):
        key, value = ("categories", "one_hot") if known.categories else ("text", "bag")
        named = "categories" if known.categories else "words"
        raise ModelError(
            f"a {kind} takes quantities, and some of these numbers stand for {named}",
            where="model.kind",
            met=f'{key} = "{"index" if known.categories else "ids"}" under [encoding]',
            remedy=f'{key} = "{value}" there, or kind = "{"tabular" if known.categories else "bag"}"',
        )
    if kind in _PICTURES:
        _fits_a_picture(kind, inputs, settings)


def _fits_a_picture(kind: str, inputs: tuple[int, ...], settings: Mapping[str, Any]) -> None:
    if len(inputs) != 3:
        raise ModelError(
            f"a {kind} takes images (channels, height, width), and an example here has the shape {inputs}",
            where="model.kind",
            remedy='kind = "mlp"',
        )
    halvings = len(settings["channels"]) - (kind in ("resnet", "mobilenet"))
    if min(inputs[1:]) < 2**halvings:
        raise ModelError(
            f"images of {inputs[1]} x {inputs[2]} pixels are too small: this {kind} halves them {halvings} times",
            where="model.channels",
            met=f"channels = {list(settings['channels'])}",
            remedy=f"images of at least {2**halvings} x {2**halvings} pixels, or fewer entries in channels",
        )
