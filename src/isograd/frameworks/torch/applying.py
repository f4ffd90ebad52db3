"""From an ``Edit`` to the patient that it leaves: which part of a copied program each kind changes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from isograd.errors import ModelError
from isograd.frameworks.torch import branches, cells, edits, mending, reshaping
from isograd.frameworks.torch.batches import inputs_of, outputs_of, targets_of
from isograd.frameworks.torch.describe import describe, without_a_batch
from isograd.frameworks.torch.fitting import Fitting, Weighed, fitting_loss, matched
from isograd.frameworks.torch.made import STORE, kept
from isograd.frameworks.torch.manner import BENT, CURVES, behind, last_bent, last_functions, norms_of_one, running
from isograd.frameworks.torch.places import tensors_in
from isograd.frameworks.torch.preparing import apart, mapped, places_of, rebatched, standard
from isograd.frameworks.torch.state import same_random_streams, untouched
from isograd.frameworks.torch.training_edits import TRAINING, above, optimizer_of
from isograd.frameworks.torch.yardsticks import Listening, heard
from isograd.records.edit import VALUES, Edit

if TYPE_CHECKING:
    from isograd.frameworks.torch.patient import TorchPatient

SEEN = 512
"""Examples on which sizes of signals are seen, and whether a unit is dead."""


def applied(twin: Any, edit: Edit) -> Any:
    """The patient with the edit in it; ``twin`` is a copy already, and is used up.

    Raises ``ModelError`` where the edit changes nothing or cannot be done on this program.
    """
    perform = _PERFORM.get(edit.kind)
    if perform is None:
        raise ModelError(f"the torch door cannot do this: {edit.text}")
    return perform(twin, edit)


def _inputs(twin: TorchPatient, edit: Edit) -> TorchPatient:
    if edit.off:
        both_scaled = twin.data.targets == twin.data.inputs
        return dataclasses.replace(twin, data=twin.data.but(inputs=(), targets=() if both_scaled else twin.data.targets))
    by = standard(_used(twin), targets=False)
    both = all(_copied(batch) for batch in twin.known)  # an autoencoder: what is wrong with the one is wrong with the other
    return dataclasses.replace(twin, data=twin.data.but(inputs=by, targets=by if both else twin.data.targets))


def _copied(batch: Any) -> bool:
    """Whether the targets are the inputs."""
    inputs, targets = next(tensors_in(inputs_of(batch)), None), next(tensors_in(targets_of(batch)), None)
    if inputs is None or targets is None or inputs.shape != targets.shape or inputs.dtype != targets.dtype:
        return False
    return bool(((inputs == targets) | (inputs != inputs)).all())


def _targets(twin: TorchPatient, edit: Edit) -> TorchPatient:
    return dataclasses.replace(twin, data=twin.data.but(targets=() if edit.off else standard(_used(twin), targets=True)))


def _used(twin: TorchPatient) -> tuple[Any, ...]:
    """The known batches that are not left out; all of them where that leaves none."""
    return tuple(batch for place, batch in enumerate(twin.known, 1) if place not in twin.data.skipped) or twin.known


def _shuffle(twin: TorchPatient, edit: Edit) -> TorchPatient:
    apart(() if edit.off else twin.known)
    return dataclasses.replace(twin, data=twin.data.but(mixed=not edit.off))


def _batch_size(twin: TorchPatient, edit: Edit) -> TorchPatient:
    apart(() if edit.off else twin.known)
    return dataclasses.replace(twin, data=twin.data.but(size=None if edit.off else max(1, int(edits.number(edit)))))


def _skip_batch(twin: TorchPatient, edit: Edit) -> TorchPatient:
    return dataclasses.replace(twin, data=twin.data.but(skipped=frozenset() if edit.off else places_of(edit.value)))


def _loss(twin: TorchPatient, edit: Edit) -> TorchPatient:
    if twin.step is not None or twin.loss is None:
        return _loss_inside(twin)
    own = twin.heard or twin.loss
    last = last_bent(twin.models, lambda: _once(twin))
    for bare in (True, False):  # the program's own may take nothing but what its last function gives
        manner = twin.manner.but(last=last) if bare else twin.manner
        with contextlib.suppress(Exception), untouched(twin.models), running(twin.models, manner), torch.enable_grad():
            batch, ears = twin.data.scaled(twin.known[0]), Listening()
            outputs, targets = outputs_of(twin.models, inputs_of(batch)), targets_of(batch)
            with ears:
                rest = Fitting(own).rest(outputs, targets)
                own(outputs, targets)
            binary = [name for name in ears.names if name.startswith("binary") and matched(outputs, targets).task == "numbers"]
            if rest is not None or binary:
                logits = (bare and bool(last)) or any(name.endswith("logits") for name in binary)
                return dataclasses.replace(
                    twin, loss=Fitting(own, binary=bool(binary), logits=logits), heard=own, manner=manner
                )
    return dataclasses.replace(twin, loss=fitting_loss, heard=own, manner=twin.manner.but(last=last))


def _other_terms(twin: TorchPatient, edit: Edit) -> TorchPatient:
    own = twin.loss if twin.step is None else None
    return dataclasses.replace(twin, loss=Weighed(own, above(edit, 0.0)), heard=twin.heard or own)


def _loss_inside(twin: TorchPatient) -> TorchPatient:
    """The loss that fits in the place of one of torch's, where the model or the step function calls it."""
    with untouched(twin.models), contextlib.suppress(ModelError):
        if twin.known and heard(twin.models, twin.data.scaled(twin.known[0]), twin.step):
            last: frozenset[int] = frozenset()
            with contextlib.suppress(ModelError):  # a batch that only a step function can read
                last = last_bent(twin.models, lambda: _once(twin))
            return dataclasses.replace(twin, manner=twin.manner.but(fit=True, last=last))
    where = "step function" if twin.step is not None else "model"
    raise ModelError(f"the loss is inside the {where}, and is none of torch's", remedy="give batches and loss apart")


def _leave_out_last(twin: TorchPatient, edit: Edit) -> TorchPatient:
    names, last = last_functions(twin.models, lambda: _once(twin))
    if edit.before == "norm" and (single := norms_of_one(lambda: _once(twin))):  # before another head as well
        return dataclasses.replace(twin, manner=twin.manner.but(last=single))
    if not names:
        raise ModelError("no function comes after the last weighted layer")
    return dataclasses.replace(twin, manner=twin.manner.but(last=last))


def _once(twin: TorchPatient) -> Any:
    """A pass on the first batch that leaves nothing behind."""
    if not twin.known:
        raise ModelError("which functions come last is seen on a batch, and there is none")
    with untouched(twin.models):
        return outputs_of(twin.models, inputs_of(twin.known[0]))


def _keep_graph(twin: TorchPatient, edit: Edit) -> TorchPatient:
    whole = dataclasses.replace(twin.loop, cut=edit.off and twin.loop.cut)
    return dataclasses.replace(twin, manner=twin.manner.but(keep_graph=not edit.off), loop=whole)


def _precision(twin: TorchPatient, edit: Edit) -> TorchPatient:
    name = str(edit.value or "float32")
    if name not in VALUES["precision"]:
        raise ModelError(f"no precision is called {name!r}", remedy=", ".join(VALUES["precision"]))
    kind: torch.dtype = getattr(torch, name)
    fine = (torch.float32, torch.float64) if edit.value is None else (kind,)
    if all(p.dtype in fine for p in edits.every_parameter(twin.models) if p.is_floating_point()):
        raise ModelError(f"the model computes in {name}{' or better' if edit.value is None else ''} already")
    for model in twin.models:
        model.to(kind)  # in place: the optimizer goes on holding the parameters

    def of_kind(tensor: Tensor) -> Tensor:
        return tensor.to(kind) if tensor.is_floating_point() else tensor

    if isinstance(twin.optimizer, torch.optim.LBFGS):  # whose memory is of all parameters as one
        twin = twin.forgetful()
    for state in () if twin.optimizer is None else twin.optimizer.state.values():
        state.update({name: of_kind(value) for name, value in state.items() if isinstance(value, Tensor) and value.ndim})
    return dataclasses.replace(twin, data=twin.data.but(wide=kind), batch=mapped(twin.batch, of_kind))


def _dropout(twin: TorchPatient, edit: Edit) -> TorchPatient:
    p = edits.number(edit)
    for model in twin.models:
        for module in model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = p
    return dataclasses.replace(twin, manner=twin.manner.but(dropout=p))


def _statistics(twin: TorchPatient, edit: Edit) -> TorchPatient:
    edits.follow_statistics(twin.models, edits.number(edit))
    return twin


def _initialisation(twin: TorchPatient, edit: Edit) -> TorchPatient:
    if edit.value == "identity":
        cells.set_identity(twin.models, edit.where.partition("@")[0])
        return twin.forgetful()
    if edit.value in ("zero_residual", "fixup"):
        if edit.value == "fixup":
            edits.draw_again(twin.models, dataclasses.replace(edit, value="he"), torch.Generator().manual_seed(twin.seed))
        branches.zero_branches(twin.models, *_called(twin), fixup=edit.value == "fixup")
        return twin.forgetful()
    edits.draw_again(twin.models, edit, torch.Generator().manual_seed(twin.seed))
    return twin.forgetful()


def _rescale(twin: TorchPatient, edit: Edit) -> TorchPatient:
    if edit.value not in VALUES["rescale"]:
        raise ModelError(f"no rescaling is called {edit.value!r}", remedy=", ".join(VALUES["rescale"]))
    if edit.value == "balance":
        done = mending.balance(twin.models)
    else:
        done = mending.rescale(twin.models, _passing(twin), centred=edit.value == "centred", where=edit.where.partition("@")[0])
    if done is None:
        raise ModelError("there is no hidden layer that could be rescaled", where=edit.where or "the model")
    return twin


def _revive(twin: TorchPatient, edit: Edit) -> TorchPatient:
    place = edit.where.partition("@")[0]
    if mending.revive(twin.models, _passing(twin), optimizer=twin.optimizer, where=place, seed=twin.seed) is None:
        raise ModelError("no unit is dead", where=edit.where or "the model")
    return twin


def _passing(twin: TorchPatient) -> Callable[[], object]:
    call, inputs = _called(twin)
    return lambda: call(inputs)


def _called(twin: TorchPatient) -> tuple[Callable[[Any], object], Any]:
    """A forward pass, and the inputs of SEEN examples, or of the first batch where batches cannot be joined."""
    if not twin.known:
        raise ModelError("how large signals are is seen on a batch, and there is none")
    try:
        (batch, *_) = rebatched(twin.known[:SEEN], SEEN, mixed=False)
    except ModelError:
        batch = twin.known[0]

    def run(inputs: Any) -> object:
        for model in twin.models:
            model.train()
        with running(twin.models, twin.manner):
            return outputs_of(twin.models, inputs)

    return run, inputs_of(twin.data.scaled(batch))


def _activation(twin: TorchPatient, edit: Edit) -> TorchPatient:
    places, modules = behind(twin.models, lambda: _once(twin))
    replaced = edits.replace_activations(twin.models, edit, modules)
    if not edit.where and edit.before in BENT and edit.value in CURVES:
        back = twin.manner.swap == (edit.value, edit.before)
        swap = None if back else (str(edit.before), str(edit.value))
        return dataclasses.replace(twin, manner=twin.manner.but(swap=swap, spared=places))
    if not replaced:
        raise ModelError(
            "there is no activation module to replace",
            where=edit.where or "the model",
            remedy="use nn.ReLU() and the like as modules, or say which function is replaced",
        )
    return twin


def _parameters(twin: TorchPatient, edit: Edit) -> TorchPatient:
    """The optimizer is given every parameter; layers that forward makes are kept first, so that there is something to give."""
    if twin.known:
        with _drawing(twin), untouched(twin.models), contextlib.suppress(ModelError), kept(twin.models) as made:
            outputs_of(twin.models, inputs_of(twin.data.scaled(twin.known[0])))
            twin = dataclasses.replace(twin, manner=twin.manner.but(hold=bool(made)))
        if not twin.manner.hold:
            twin.models[0]._modules.pop(STORE, None)
    edits.give_parameters(twin.models, optimizer_of(twin, "parameters"))
    return twin


def _forget_bias(twin: TorchPatient, edit: Edit) -> TorchPatient:
    cells.set_forget_bias(twin.models, edits.number(edit), edit.where.partition("@")[0])
    return twin


def _truncate(twin: TorchPatient, edit: Edit) -> TorchPatient:
    steps = None if edit.off else int(above(edit, 1.0, whole=True))
    cells.truncate(twin.models, steps, edit.where.partition("@")[0])
    return _tried(twin)


def _cell(twin: TorchPatient, edit: Edit) -> TorchPatient:
    place = edit.where.partition("@")[0]
    with _drawing(twin):
        models, new = cells.exchange_cells(twin.models, twin.optimizer, str(edit.value), place)
    return _tried(dataclasses.replace(twin, models=models), new)


@contextlib.contextmanager
def _drawing(twin: TorchPatient) -> Iterator[None]:
    """Within, weights are drawn from the patient's seed."""
    with same_random_streams():
        torch.manual_seed(twin.seed)
        yield


def _tried(twin: TorchPatient, new: Sequence[nn.Module] = ()) -> TorchPatient:
    """The patient, where a pass on its first batch succeeds and runs each of the modules that were put in."""
    if not twin.known:
        return twin
    seen: set[int] = set()

    def heard(module: nn.Module, args: Any, output: Any) -> None:
        seen.add(id(module))

    handles = [module.register_forward_hook(heard) for module in new]
    try:
        with untouched(twin.models), torch.no_grad(), running(twin.models, twin.manner):
            outputs_of(twin.models, inputs_of(twin.data.scaled(twin.known[0])))
    finally:
        for handle in handles:
            handle.remove()
    if len(seen) < len(new):
        raise ModelError("the program goes on using the layer that was exchanged: it is held outside of the model's modules")
    return twin


def _width(twin: TorchPatient, edit: Edit) -> TorchPatient:
    left = edits.unheld(twin.models, twin.optimizer)
    with _drawing(twin):
        reshaping.widen(twin.models, edits.number(edit))
    again = None if twin.optimizer is None else edits.same_optimizer(twin.models, twin.optimizer, left)
    return dataclasses.replace(twin, optimizer=again)


def _depth(twin: TorchPatient, edit: Edit) -> TorchPatient:
    def in_a_row(members: Sequence[nn.Module]) -> bool:
        return bool(twin.known) and branches.in_a_row(twin.models, *_called(twin), members)

    with _drawing(twin):
        new = reshaping.deepen(twin.models, twin.optimizer, edits.number(edit), in_a_row)
    return _tried(twin, new)


def _separable(twin: TorchPatient, edit: Edit) -> TorchPatient:
    with _drawing(twin):
        models, new = reshaping.separable(twin.models, twin.optimizer, edit.where.partition("@")[0])
    return _tried(dataclasses.replace(twin, models=models), new)


def _normalisation(twin: TorchPatient, edit: Edit) -> TorchPatient:
    if edit.off:
        reshaping.no_normalisation(twin.models)
    else:
        reshaping.normalise(twin.models, str(edit.value or "layer"), edit.where.partition("@")[0])
    return twin


def _nonlinearity(twin: TorchPatient, edit: Edit) -> TorchPatient:
    gone = reshaping.no_bend(twin.models)
    if edit.off:
        if not gone:
            raise ModelError("no edit has put activations between layers in, and the program's own stay")
        return twin
    batch = twin.data.scaled(twin.known[0]) if twin.known else None
    with running(twin.models, twin.manner):
        seen = describe(twin.models, batch) if batch is not None else without_a_batch(twin.models)
    return _tried(twin, reshaping.bend(twin.models, seen, str(edit.value or "relu"), edit.where.partition("@")[0]))


def _residual(twin: TorchPatient, edit: Edit) -> TorchPatient:
    if edit.off:
        reshaping.no_inputs(twin.models)
    else:
        reshaping.add_inputs(twin.models, edit.where.partition("@")[0])
    return twin


def _norm_first(twin: TorchPatient, edit: Edit) -> TorchPatient:
    if edit.off:
        branches.norm_last(twin.models)
        return twin
    branches.norm_first(twin.models, *_called(twin))
    return _tried(twin)


_PERFORM: dict[str, Callable[[TorchPatient, Edit], TorchPatient]] = {
    **TRAINING,
    "parameters": _parameters,
    "input_scale": _inputs,
    "target_scale": _targets,
    "shuffle": _shuffle,
    "batch_size": _batch_size,
    "skip_batch": _skip_batch,
    "loss": _loss,
    "other_terms": _other_terms,
    "last": _leave_out_last,
    "keep_graph": _keep_graph,
    "precision": _precision,
    "dropout": _dropout,
    "statistics": _statistics,
    "initialisation": _initialisation,
    "forget_bias": _forget_bias,
    "axes": lambda twin, edit: _tried(cells.take_first(twin, str(edit.value), edit.where.partition("@")[0])),
    "rescale": _rescale,
    "revive": _revive,
    "activation": _activation,
    "truncate": _truncate,
    "cell": _cell,
    "width": _width,
    "depth": _depth,
    "separable": _separable,
    "norm_first": _norm_first,
    "nonlinearity": _nonlinearity,
    "normalisation": _normalisation,
    "residual": _residual,
}
