"""What each value of each setting does to small healthy networks: writes src/isograd/health/harm_table.py.

    python benchmarks/harm.py [--family dense]

Five families (dense, convolutional, recurrent, attention, regression), three sizes each. One value is changed at a time; the
harm is the skill that is lost after 80 steps, in the mean over the sizes. Ten minutes on one core.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common import write
from harm_references import FAMILIES, RATES, SIZES, STEPS, Reference, batches_of, examples, reference
from isograd.errors import IsogradError
from isograd.records.edit import Edit

TABLE = Path(__file__).resolve().parents[1] / "src" / "isograd" / "health" / "harm_table.py"
Change = Callable[[Reference, float], Reference]
EFFECTIVE = RATES["sgd"] / 0.1
"""The SGD references' learning rate over 1 - momentum."""


def setting(kind: str) -> Change:
    """A value that an edit sets."""
    return lambda one, value: Reference(one.patient.apply(Edit(kind, value)), one.batches, one.held)


def momentum(one: Reference, value: float) -> Reference:
    """With the learning rate over 1 - momentum as it was, as far as that goes."""
    patient = one.patient.apply(Edit("momentum", value))
    return Reference(patient.apply(Edit("learning_rate", EFFECTIVE * max(0.05, 1.0 - value))), one.batches, one.held)


def sgd_rate(one: Reference, value: float) -> Reference:
    """The learning rate over 1 - momentum."""
    return Reference(one.patient.apply(Edit("learning_rate", value / 10.0)), one.batches, one.held)


def decoupled(one: Reference, value: float) -> Reference:
    """Weight decay beside the gradient, as AdamW has it."""
    patient = one.patient.copy()
    parameters = [p for model in patient.models for p in model.parameters()]
    changed = Reference(patient, one.batches, one.held)
    return changed.but(optimizer=torch.optim.AdamW(parameters, RATES["adaptive"], weight_decay=value))


def on_weights(change: Callable[[Tensor, float], None], *, biases: bool = False) -> Change:
    """A change of all matrices, or all biases, in place."""

    def changed(one: Reference, value: float) -> Reference:
        patient = one.patient.copy()
        with torch.no_grad():
            for model in patient.models:
                for name, parameter in model.named_parameters():
                    if (parameter.ndim < 2 and "bias" in name) if biases else parameter.ndim >= 2:
                        change(parameter, value)
        return Reference(patient, one.batches, one.held)

    return changed


def gain(weight: Tensor, value: float) -> None:
    """Rms * sqrt(fan_in) becomes the value; 0: all weights the same."""
    fan_in = weight[0].numel()
    if value:
        weight.mul_(value / (weight.square().mean().sqrt().item() * fan_in**0.5))
    else:
        weight.fill_(0.1 / fan_in**0.5)


def below_zero(bias: Tensor, value: float) -> None:
    """A bias that keeps ReLUs from firing."""
    bias.fill_(-value)


def redrawn(one: Reference, value: float) -> Reference:
    """The weights are drawn again every so many steps."""
    return one.loop(redraws=int(value) if value < STEPS else 0)


def widened(one: Reference, value: float) -> Reference:
    """Hidden layers of that width."""
    first = next(module for module in one.patient.models[0].modules() if isinstance(module, nn.Linear))
    return setting("width")(one, value / first.out_features)


def on_inputs(change: Callable[[Tensor, float], Tensor]) -> Change:
    """A change of all inputs, those to judge by as well."""

    def changed(one: Reference, value: float) -> Reference:
        def spoiled(pairs: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple((change(x, value), y) for x, y in pairs)

        return one.but(batches=spoiled(one.batches), held=spoiled(one.held))

    return changed


def on_targets(change: Callable[[Tensor, float], Tensor]) -> Change:
    """A change of all targets."""

    def changed(one: Reference, value: float) -> Reference:
        def spoiled(pairs: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple((x, change(y, value)) for x, y in pairs)

        return one.but(batches=spoiled(one.batches), held=spoiled(one.held))

    return changed


def one_column(x: Tensor, value: float) -> Tensor:
    """The first feature in other units."""
    spoiled = x.clone()
    spoiled.reshape(len(x), -1)[:, 0] *= value
    return spoiled


def geometric(one: Reference, value: float) -> Reference:
    """A rate that is ``value`` times as high half-way."""
    rate = float(one.patient.optimizer.param_groups[0]["lr"]) if one.patient.optimizer else 0.0
    return one.loop(rates=tuple((step, rate * value ** ((step - 1) / (STEPS / 2))) for step in range(1, STEPS + 1)))


ZEROS_TO_ONE = (1e-6, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4, 1e6)
SMALL_RATES = (1e-7, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
LARGE_RATES = (1e-5, 1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
GAINS = (0.0, 1e-8, 1e-4, 1e-2, 0.1, 0.2, 0.4, 0.577, 1.0, 1.414, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
DECAYS = (0.0, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0, 30.0)
RATIOS = (1e-12, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 1.0, 2.0, 10.0, 100.0, 1e3, 1e6)
NUMBERS: dict[str, tuple[str, tuple[float, ...], Change]] = {
    "learning_rate/adaptive": ("adaptive", SMALL_RATES, setting("learning_rate")),
    "learning_rate/sgd": ("sgd", LARGE_RATES, sgd_rate),
    "momentum/sgd": ("sgd", (0.0, 0.5, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.9995, 1.0, 1.01, 1.05), momentum),
    "beta1/adaptive": ("adaptive", (0.0, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995), setting("beta1")),
    "beta2/adaptive": ("adaptive", (0.1, 0.5, 0.8, 0.9, 0.99, 0.999, 0.9999), setting("beta2")),
    "eps/adaptive": ("adaptive", (1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 1e3), setting("eps")),
    "weight_decay/adaptive": ("adaptive", DECAYS, setting("weight_decay")),
    "weight_decay/sgd": ("sgd", DECAYS, setting("weight_decay")),
    "weight_decay/decoupled": ("adaptive", DECAYS, decoupled),
    "clip_norm/sgd": ("sgd", (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0), setting("clip_norm")),
    "clip_norm/adaptive": ("adaptive", (1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-6, 1e-3, 1.0), setting("clip_norm")),
    "gain": ("adaptive", GAINS, on_weights(gain)),
    "bias": ("adaptive", (0.0, 0.1, 0.5, 1.0, 3.0, 10.0), on_weights(below_zero, biases=True)),
    "dropout": ("adaptive", (0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99), setting("dropout")),
    "batch_size": ("adaptive", (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 128.0, 512.0), setting("batch_size")),
    "steps": ("adaptive", (2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0), setting("steps")),
    "input_scale": ("adaptive", ZEROS_TO_ONE, on_inputs(lambda x, v: x * v)),
    "input_shift": ("adaptive", (0.0, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3), on_inputs(lambda x, v: x + v)),
    "input_ratio": ("adaptive", (1.0, 10.0, 100.0, 1e3, 1e4, 1e6), on_inputs(one_column)),
    "input_nonfinite": ("adaptive", (0.0, 1.0), on_inputs(lambda x, v: one_column(x, torch.nan) if v else x)),
    "input_scale/sgd": ("sgd", ZEROS_TO_ONE, on_inputs(lambda x, v: x * v)),
    "input_shift/sgd": ("sgd", (0.0, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3), on_inputs(lambda x, v: x + v)),
    "input_ratio/sgd": ("sgd", (1.0, 10.0, 100.0, 1e3, 1e4, 1e6), on_inputs(one_column)),
    "target_scale": ("adaptive", ZEROS_TO_ONE, on_targets(lambda y, v: y * v)),
    "target_shift": ("adaptive", (0.0, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3), on_targets(lambda y, v: y + v)),
    "target_scale/sgd": ("sgd", ZEROS_TO_ONE, on_targets(lambda y, v: y * v)),
    "target_shift/sgd": ("sgd", (0.0, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3), on_targets(lambda y, v: y + v)),
    "keep_weights": ("adaptive", (1.0, 5.0, 10.0, 25.0, 40.0, 80.0), redrawn),
    "constant_rate": ("adaptive", RATIOS, geometric),
    "width": ("adaptive", (1.0, 2.0, 3.0, 4.0, 8.0, 16.0), widened),
}  # fmt: skip
"""By setting: the references' optimizer, the values, and how one is put in. Targets are scaled in regressions alone."""


def of_one_hot(outputs: Tensor, classes: Tensor) -> Tensor:
    return F.l1_loss(outputs, F.one_hot(classes, 10).float())


LOSSES: dict[str, dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "classes": {
        "cross_entropy": lambda out, y: -F.cross_entropy(out, y),
        "nll_loss": lambda out, y: F.nll_loss(torch.softmax(out, 1), y),
        "l1_loss": of_one_hot,
        "mse_loss": lambda out, y: F.mse_loss(out.mean(1), y.float()),
    },
    "numbers": {
        "mse_loss": lambda out, y: (out - y.reshape(1, -1)).square().mean(),
        "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
        "difference": lambda out, y: (out - y).mean(),
    },
}


class Behind(nn.Module):
    """A network with one more function behind it."""

    def __init__(self, inner: nn.Module, curve: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.curve = inner, curve

    def forward(self, x: Tensor) -> Tensor:
        """The shape of the inner output."""
        return self.curve(self.inner(x))


LAST: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda x: torch.softmax(x, -1),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
}
CURVES: dict[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "softmax": type("RowSoftmax", (nn.Softmax,), {"__init__": lambda self: nn.Softmax.__init__(self, -1)}),
    "sign": type("Sign", (nn.Module,), {"forward": lambda self, x: torch.sign(x)}),
    "hardshrink": nn.Hardshrink,
}


def words(family: str, size: int) -> dict[str, dict[str, Reference]]:
    """References with one thing wrong that has a name and no number, by edit and name."""
    one = reference(family, size)
    made: dict[str, dict[str, Reference]] = {
        "clears": {"never": one.loop(clears=0), "early": one.loop(clears_early=True), "rarely": one.loop(clears=50)},
        "fresh_batches": {"*": one.loop(same_batch=True)},
        "parameters": {"*": held(one)},
        "unfreeze": {"*": frozen(one)},
        "keep_graph": {"*": frozen(one)},
        "train_mode": {"*": reference(family, size, norm=True).loop(evaluating=True)},
        "shuffle": {"*": in_order(one, family)},
        "loss": {},
        "last": {},
        "activation": {},
    }
    kind = "numbers" if family == "regression" else "classes"
    made["loss"] = {name: one.but(loss=loss) for name, loss in LOSSES[kind].items()}
    made["last"] = {name: behind(one, curve) for name, curve in LAST.items()}
    if family in ("dense", "convolutional", "regression"):
        made["activation"] = {name: reference(family, size, curve=curve) for name, curve in CURVES.items()}
    return made


def behind(one: Reference, curve: Callable[[Tensor], Tensor]) -> Reference:
    """The reference with a function behind its outputs."""
    patient = one.patient.copy()
    changed = Reference(patient, one.batches, one.held)
    return changed.but(models=(Behind(patient.models[0], curve),))


def frozen(one: Reference) -> Reference:
    """All but the last layer do not learn."""
    patient = one.patient.copy()
    for parameter in list(patient.models[0].parameters())[:-2]:
        parameter.requires_grad_(False)
    return Reference(patient, one.batches, one.held)


def held(one: Reference) -> Reference:
    """The optimizer holds the first layer alone."""
    patient = one.patient.copy()
    changed = Reference(patient, one.batches, one.held)
    return changed.but(optimizer=torch.optim.Adam(list(patient.models[0].parameters())[:2], RATES["adaptive"]))


def in_order(one: Reference, family: str) -> Reference:
    """The examples come sorted by target."""
    x, y = examples(family)
    x, y = x[:-400], y[:-400]
    order = y.reshape(len(y), -1)[:, 0].argsort()
    return one.but(batches=batches_of(x[order], y[order]))


def skill(one: Reference) -> float:
    """Skill after the replay's length, or the steps that the reference itself makes."""
    try:
        return one.skill(one.patient.loop.steps or STEPS)
    except IsogradError:
        return -0.2


def harm_of_numbers(family: str) -> dict[str, list[tuple[float, float]]]:
    """The row of each setting for one family."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for name, (kind, values, change) in NUMBERS.items():
        if name.startswith("target") and family != "regression":
            continue
        sound = [reference(family, size, kind) for size in range(len(SIZES))]
        healthy = [skill(one) for one in sound]
        row = []
        for value in values:
            try:
                lost = [h - skill(change(one, value)) for h, one in zip(healthy, sound, strict=True)]
            except IsogradError:
                break
            row.append((value, round(statistics.fmean(lost), 3)))
        if len(row) == len(values):
            rows[name] = row
        print(family, name, row, file=sys.stderr, flush=True)
    return rows


def harm_of_words(family: str) -> dict[str, dict[str, float]]:
    """The harm of each named fault for one family."""
    found: dict[str, dict[str, list[float]]] = {}
    for size in range(len(SIZES)):
        healthy = skill(reference(family, size))
        for kind, named in words(family, size).items():
            for name, one in named.items():
                found.setdefault(kind, {}).setdefault(name, []).append(healthy - skill(one))
    return {kind: {name: round(statistics.fmean(lost), 3) for name, lost in named.items()} for kind, named in found.items()}


def text_of(numbers: dict[str, dict[str, Any]], named: dict[str, dict[str, Any]]) -> str:
    """The table as a file of Python, rows short enough for the house."""
    lines = ['"""What each value does to small healthy references: written by benchmarks/harm.py, not by hand."""', ""]
    lines += [
        "from __future__ import annotations",
        "",
        f"DEPTHS = ({SIZES[0][1]}, {SIZES[-1][1]})",
        f"WIDTHS = ({SIZES[0][0]}, {SIZES[-1][0]})",
    ]
    lines += ['"""Depth and width of the smallest and the largest reference."""', "", "# fmt: off"]
    lines += ["NUMBERS: dict[str, dict[str, tuple[tuple[float, float], ...]]] = {"]
    for name in NUMBERS:
        lines.append(f'    "{name}": {{')
        for family, rows in numbers.items():
            if name in rows:
                lines += _wrapped(f'        "{family}": (', [f"({value:g}, {lost:g})" for value, lost in rows[name]])
        lines.append("    },")
    lines += ["}", '"""Lost skill by setting, family and value."""', "", "WORDS: dict[str, dict[str, dict[str, float]]] = {"]
    for kind in dict.fromkeys(kind for one in named.values() for kind in one):
        lines.append(f'    "{kind}": {{')
        for name in dict.fromkeys(name for one in named.values() for name in one.get(kind, {})):
            pairs = [f'"{family}": {one[kind][name]:g}' for family, one in named.items() if name in one.get(kind, {})]
            lines.append(f'        "{name}": {{{", ".join(pairs)}}},')
        lines.append("    },")
    lines += ["}", '"""Lost skill by edit, name of what is wrong ("*": whatever it is called) and family."""', ""]
    return "\n".join(lines)


def _wrapped(head: str, parts: Sequence[str]) -> list[str]:
    lines, line = [], head
    for part in parts:
        if len(line) + len(part) > 120:
            lines.append(line.rstrip())
            line = " " * 12
        line += f"{part}, "
    return [*lines, f"{line.rstrip()}),"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=FAMILIES, help="this family alone, printed and not written")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    families = FAMILIES if options.family is None else (options.family,)
    numbers = {family: harm_of_numbers(family) for family in families}
    named = {family: harm_of_words(family) for family in families}
    if options.family is None:
        TABLE.write_text(text_of(numbers, named), encoding="utf-8")
        print(write("harm", {"numbers": numbers, "words": named}))
    else:
        print(text_of(numbers, named))


if __name__ == "__main__":
    main()
