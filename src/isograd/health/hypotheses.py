"""Case -> proposals: which edits are worth a trial, those that a fact, a finding or a value speaks for first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from isograd.health.case import Case
from isograd.health.harm import FADES
from isograd.health.looks import frozen_by_accident
from isograd.health.present import Present
from isograd.records.edit import Edit
from isograd.records.finding import Finding

Change = Callable[..., "Proposal"]

SUSPECTS: dict[str, tuple[str, ...]] = {
    "learning_rate": ("learning_rate", "constant_rate"),
    "warm_up": ("learning_rate", "constant_rate"),
    "clipping": ("clip_norm",),
    "momentum": ("momentum", "beta1", "beta2", "eps", "learning_rate"),
    "weight_decay": ("weight_decay", "loss"),
    "batch_size": ("batch_size",),
    "gradients_not_cleared": ("clear_gradients",),
    "gradients_lost": ("clear_gradients", "take_steps", "loss"),
    "cut_graph": ("keep_graph", "loss", "activation"),
    "flat_activation": ("activation",),
    "optimizer_misses_parameters": ("parameters",),
    "frozen_layers": ("unfreeze",),
    "wrong_mode": ("train_mode",),
    "weights_reset": ("keep_weights",),
    "same_batch": ("fresh_batches",),
    "broadcast_loss": ("loss",),
    "loss_mismatch": ("loss", "last"),
    "unreachable_targets": ("last", "target_scale"),
    "labels_misfit": ("loss",),
    "inputs": ("input_scale",),
    "targets": ("target_scale",),
    "labels": ("shuffle", "loss"),
    "forgetting": ("shuffle",),
    "initial_loss": ("initialisation", "target_scale"),
    "nonfinite": ("learning_rate", "input_scale", "precision"),
    "exploding": ("learning_rate", "input_scale", "initialisation", "target_scale"),
    "vanishing": ("initialisation", "activation", "learning_rate"),
    "dead_units": ("learning_rate", "initialisation", "input_scale"),
    "symmetry": ("initialisation",),
    "rank_collapse": ("initialisation", "activation", "width"),
    "recurrent": ("initialisation",),
    "precision": ("precision",),
    "hidden_softmax": ("activation",),
    "hidden_scale": ("initialisation",),
    "underfitting": ("nonlinearity", "dropout", "width"),
    "interrupted": ("steps", "learning_rate"),
    "spikes": ("learning_rate",),
    "plateau": ("learning_rate",),
    "collapse": ("loss", "learning_rate"),
}
"""The kinds of edits that a finding of each disease speaks for."""


LOSSES = ("loss_mismatch", "broadcast_loss", "labels_misfit", "bottomless")
"""Diseases that show for certain, where they are critical, that the loss as it is teaches nothing."""
DEEP = 5
"""Layers beyond which an activation and the initial weights must suit each other."""
FAR = 30.0
"""Times below the usual from which a rate is tried in steps of ten towards it, for the usual one may be too high here."""
PASSING = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh")
"""Activations whose slope is about 1 where a signal of usual size is."""
TIMES = ("mul", "div")
"""Functions that make outputs so many times as large."""
ROOM = 16.0
LIGHTER = (1e-3, 0.1)
"""Weights of a term that outweighs the data: of one that is a mean in front of a sum, or the other way round, and of less."""
FOLLOWING = 0.1
"""The share of a new batch in running statistics: torch's own, with which 22 batches leave a tenth of what was there."""
MANY = 100.0
"""Steps below which a run may be too short for anything to be learned."""
MIXED = 0.8
"""Batches whose labels vary less than so much of what all labels do are not mixed."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """An edit worth a trial: who proposes it, and where it stands; ``urgent``: a fact, a finding or a value speaks for it."""

    edit: Edit
    reason: str
    urgent: bool = False
    where: str = ""
    source: str | None = None


def proposals(case: Case, findings: Sequence[Finding], present: Present) -> tuple[Proposal, ...]:
    """Candidate edits, each once: those of facts first, then those that findings and values speak for, then the rest."""
    found: dict[Edit, Proposal] = {}
    for one in (*_of_facts(case, present), *_of_findings(case, findings, present), *_of_values(present)):
        found.setdefault(one.edit, one)
    spoken: dict[str, Finding] = {}
    for finding in findings:
        for kind in SUSPECTS.get(finding.disease, ()):
            spoken.setdefault(kind, finding)
    ready = []
    for one in found.values():
        finding_or_none = spoken.get(one.edit.kind)
        if finding_or_none is None:
            ready.append(one)
            continue
        known = one.edit.kind == "loss" and finding_or_none.disease in LOSSES and finding_or_none.severity == "critical"
        reason = f"{'fact' if known else 'finding'}: {finding_or_none.disease.replace('_', ' ')}"
        source = one.source or finding_or_none.source
        ready.append(Proposal(one.edit, reason, True, one.where or finding_or_none.where, source))
    order = list(found)
    return tuple(sorted(ready, key=lambda one: (not one.urgent, order.index(one.edit))))


def rounded_away(edit: Edit, candidates: Sequence[Proposal]) -> tuple[Edit, ...]:
    """What else explains that a larger rate cures: steps that the precision rounds away, where a finding says so.

    A larger step is one that is not rounded away, and in a short replay the finer numbers are as slow as the coarse ones.
    """
    raised = edit.kind == "learning_rate" and isinstance(edit.value, float) and isinstance(edit.before, float)
    if not raised or not float(edit.value or 0.0) > float(edit.before or 0.0):
        return ()
    return tuple(one.edit for one in candidates if one.edit.kind == "precision" and one.reason == "finding: precision")


def _of_facts(case: Case, present: Present) -> Iterator[Proposal]:
    """What the program itself shows."""
    loop = present.loop

    def fact(edit: Edit, kind: str, reason: str, default: str = "loop") -> Proposal:
        seen = next((fact for _, fact in case.facts(kind)), None)
        where, source = (default, None) if seen is None else (seen.where or default, seen.source)
        return Proposal(edit, f"fact: {reason}", True, where, source)

    if loop.clears != 1 or loop.clears_early:
        kind = "cleared_early" if loop.clears_early else "carried"
        yield fact(Edit("clear_gradients"), kind, "gradients are not cleared where they should be")
    if loop.idle:
        yield fact(Edit("take_steps"), "no_step", "no optimizer steps")
    if loop.evaluating:
        yield fact(Edit("train_mode"), "evaluation_mode", "it trains in evaluation mode")
    if loop.same_batch:
        yield fact(Edit("fresh_batches"), "same_batch", "every look saw the same batch", "data")
    if loop.redraws:
        yield fact(Edit("keep_weights"), "weights_changed", "weights change between steps")
    held = [p for p in case.anatomy.parameters if p.trainable and p.in_optimizer is False]
    if held or case.facts("not_in_optimizer") or case.facts("hidden_module") or case.facts("stale_parameters"):
        yield fact(Edit("parameters"), "not_in_optimizer", "the optimizer does not hold all parameters", "optimizer")
    frozen = [p for p in case.anatomy.parameters if not p.trainable]
    if any(p.in_optimizer for p in frozen) or frozen_by_accident(case.anatomy):
        yield Proposal(Edit("unfreeze"), "fact: parameters ask for no gradient", True, frozen[0].layer)
    if loop.cut or case.facts("detached") or case.facts("cut_off"):
        kind = "detached" if case.facts("detached") else "loss_outside"
        yield fact(Edit("keep_graph"), kind, "a signal leaves the graph")
    if case.anatomy.dtype in ("float16", "bfloat16"):
        yield Proposal(Edit("precision", before=case.anatomy.dtype), "fact: it computes in half precision", True, "loop")
    straight = present.word("straight")
    if straight:
        edit = Edit("nonlinearity", present.word("activation") if present.word("activation") in PASSING else "relu")
        first = case.anatomy.nodes[case.anatomy.straight[0][0]]
        reason = "fact: no activation stands between its layers" if straight == "whole" else "list"
        yield Proposal(edit, reason, straight == "whole", first.path, first.source)
    last = present.word("last")
    line = next((sample for _, sample in case.losses if sample.training and sample.function), None)
    source = None if line is None else line.source
    yield Proposal(Edit("loss", before=present.word("loss") or None), "list", bool(last), "loss", source)
    if last:
        names = last.split()
        edit = Edit("last", before=([one for one in names if one not in TIMES] or names)[-1])
        yield Proposal(edit, "fact: a function comes last", True, "loss" if line is None else line.head_where or "loss", source)


def _of_findings(case: Case, findings: Sequence[Finding], present: Present) -> Iterator[Proposal]:
    """What an alarm alone tells.

    Layers may be frozen as one freezes what was learned before, and nothing was. Running statistics may follow slowly in a long
    run. A norm over a single value, and a part of the loss that outweighs all others, show in what does not come back. A hook
    that takes the sign off gradients is no clip of a known bound.
    """
    alarms = {one.disease: one for one in reversed(findings) if one.alarm}

    def spoken_for(edit: Edit, disease: str, where: str = "") -> Iterator[Proposal]:
        one = alarms.get(disease)
        if one is not None:
            yield Proposal(edit, f"finding: {disease.replace('_', ' ')}", True, where or one.where, one.source)

    yield from spoken_for(Edit("unfreeze"), "frozen_layers")
    mode = alarms.get("wrong_mode")
    lag = next((fact for _, fact in case.facts("statistics_lag") if mode is not None and fact.where == mode.where), None)
    if lag is not None:
        yield from spoken_for(Edit("statistics", FOLLOWING, before=float(lag.get("momentum", 0.0))), "wrong_mode")
    for first, other in (("batch", "time"), ("time", "batch")):
        yield from spoken_for(Edit("axes", first, before=other), "recurrent_axes")
    yield from spoken_for(Edit("last", before="norm"), "flat_activation")
    for weight in LIGHTER:
        yield from spoken_for(Edit("other_terms", weight, before=1.0), "posterior_collapse", "loss")
    if present.loop.clip_norm is None and present.loop.clip_value is None:
        yield from spoken_for(Edit("clip_norm"), "clipping")


def usual_norms(present: Present) -> tuple[str, ...]:
    """The normalisations that suit a network, the likeliest first: over the batch for pictures, where it is large enough.

    Below ROOM examples the estimates of mean and variance are worse than what they are for. Sources: Ioffe & Szegedy 2015,
    arXiv:1502.03167; Wu & He 2018, arXiv:1803.08494, figure 1 (16 and more lose nothing).

    >>> usual_norms(Present("convolutional", 9, 8.0, numbers=(("batch_size", 64.0),))), usual_norms(Present("dense", 9, 8.0))
    (('batch', 'layer'), ('layer',))
    """
    many = (present.number("batch_size") or 0.0) >= ROOM
    return ("batch", "layer") if present.family == "convolutional" and many else ("layer",)


def usual_rate(present: Present) -> float:
    """The rate at which the references of harm learn best in a few hundred steps: Adam's; SGD's, over 1 - momentum.

    >>> usual_rate(Present("dense", 2, 8.0, numbers=(("momentum", 0.9),), words=(("optimizer", "sgd"),)))
    0.05
    """
    momentum = present.number("momentum") or 0.0
    shrinks = present.number("shrinks") or 1.0
    return (
        float(f"{3e-3 / shrinks:.3g}")
        if present.word("optimizer") == "adaptive"
        else round(0.5 * (1.0 - min(momentum, 0.99)), 9)
    )


def _of_values(present: Present) -> Iterator[Proposal]:
    """What a setting could be instead; a value far from the usual speaks for itself."""
    number = present.number

    def change(kind: str, value: float | str | None, before: float | str | None, *, odd: bool) -> Proposal:
        where = "data" if kind in ("input_scale", "target_scale", "shuffle", "batch_size") else "optimizer"
        where = "loop" if kind == "steps" else where
        where = "model" if kind in ("initialisation", "activation", "dropout", "width", "normalisation", "residual") else where
        return Proposal(Edit(kind, value, before=before), "value" if odd else "list", odd, where)

    yield from _rates(present, change)
    for name, usual, (low, high) in (
        ("momentum", 0.9, (0.0, 0.97)),
        ("beta1", 0.9, (0.0, 0.97)),
        ("beta2", 0.999, (0.8, 1.0)),
        ("eps", 1e-8, (0.0, 1e-3)),
        ("weight_decay", 0.0, (0.0, 0.02)),
    ):
        value = number(name)
        odd = value is not None and not low <= value <= high
        plain = name == "momentum" and present.word("optimizer") == "sgd"
        if value is not None and value != usual and (odd or plain):
            yield change(name, usual, value, odd=odd)
    if present.loop.rates:
        drift = present.loop.drift
        yield change("constant_rate", None, drift, odd=not 0.05 < drift < 20.0)
    clip = present.loop.clip_norm if present.loop.clip_norm is not None else present.loop.clip_value
    if clip is not None:
        yield change("clip_norm", None, clip, odd=clip < 0.1)
    scale, shift = number("input_scale"), number("input_shift")
    if scale is not None:
        far = not 0.1 < scale < 10.0 or (shift or 0.0) > 3.0 or (number("input_ratio") or 0.0) > 30.0
        yield change("input_scale", "standard", scale, odd=far or number("input_nonfinite") is not None)
    scale, shift = number("target_scale"), number("target_shift")
    if scale is not None:
        yield change("target_scale", "standard", scale, odd=not 0.1 < scale < 10.0 or (shift or 0.0) > 3.0)
    size = number("batch_size")
    if size is not None and size != 32:
        yield change("batch_size", 32.0, size, odd=size < 8 or size > 512)
    mixing = number("mixing")
    if mixing is None or mixing < MIXED:
        yield change("shuffle", None, mixing, odd=mixing is not None)
    dropout = number("dropout")
    if dropout:
        yield change("dropout", 0.0, dropout, odd=dropout > 0.6)
    steps = number("steps")
    if steps is not None and steps < MANY:
        yield change("steps", 80.0 if steps < 40 else 2.0 * steps, steps, odd=True)
    yield from _of_model(present, change)


def _rates(present: Present, change: Change) -> Iterator[Proposal]:
    effective = present.number("learning_rate")
    if effective is None:
        return
    momentum = present.number("momentum") or 0.0
    adaptive = present.word("optimizer") == "adaptive"
    rate = effective if adaptive or momentum >= 1.0 else effective * (1.0 - momentum)
    usual = usual_rate(present)
    effective *= present.number("shrinks") or 1.0
    odd = effective > (0.03 if adaptive else 3.0) or effective < (1e-5 if adaptive else 3e-3)
    yield change("learning_rate", usual, rate, odd=odd)
    far = rate < usual / FAR
    for factor in (10.0, 100.0, 0.1) if far else (0.1, 10.0, 0.01):
        yield change("learning_rate", float(f"{rate * factor:.3g}"), rate, odd=False)


def _of_model(present: Present, change: Change) -> Iterator[Proposal]:
    activation, gain = present.word("activation"), present.number("gain")
    if gain is not None:
        odd = not 0.2 < gain < 3.0 or (present.number("bias") or 0.0) > 3.0 or (present.number("fading") or 0.0) > FADES
        rule = "glorot" if activation in ("tanh", "sigmoid", "") else "he"
        yield change("initialisation", rule, gain, odd=odd)
        if rule != "he" and present.depth > DEEP:
            yield change("initialisation", "he", gain, odd=False)
    layer, large = present.word("odd_layer"), present.number("odd_gain") or present.number("odd_bias")
    if layer:
        rule = "glorot" if activation in ("tanh", "sigmoid", "") else "he"
        yield Proposal(Edit("initialisation", rule, layer, before=large), "value", True, layer)
    for name in present.word("activations").split():
        if name != "relu":
            odd = name not in ("tanh", "gelu", "silu", "elu", "leaky_relu", "selu", "mish")
            yield change("activation", "relu", name, odd=odd)
    if 0.0 < present.width < 8.0:
        yield change("width", 16.0 if present.width < 3.0 else 8.0, present.width, odd=True)
    if present.depth > 2:
        yield change("normalisation", usual_norms(present)[0], None, odd=False)
        yield change("residual", None, None, odd=present.depth > 10)
    if present.word("optimizer") == "sgd":
        yield change("optimizer", "adam", "sgd", odd=False)
    if present.loop.clip_norm is None:
        yield change("clip_norm", 1.0, None, odd=False)
