"""Residual branches, seen in a pass: begin them at zero, scale them by their number, normalise before them, not behind."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node, get_gradient_edge
from torch.overrides import TorchFunctionMode

from isograd.errors import ModelError
from isograd.frameworks.torch.exchanging import drop
from isograd.frameworks.torch.operations import name_of
from isograd.frameworks.torch.places import modules_of, tensors_in
from isograd.frameworks.torch.preparing import mapped
from isograd.frameworks.torch.state import untouched

Call = Callable[[Any], object]
"""A forward pass on the inputs that it is given."""

_WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
MOST_NODES = 20_000
"""Nodes of the graph that one branch may have."""


@dataclass(slots=True)
class Use:
    """One call of a module: when it began and ended, what it took and gave."""

    module: nn.Module
    began: int
    taken: tuple[Any, ...]
    ended: int = 0
    given: Any = None


@dataclass(slots=True)
class Addition:
    """``skip + branch``: when, the two, the sum, and the weighted or normalising modules that a branch ends with and holds."""

    at: int
    skip: Tensor
    branch: Tensor
    total: Tensor
    ends: list[nn.Module] = field(default_factory=list)
    held: list[nn.Module] = field(default_factory=list)


class _Listening(TorchFunctionMode):
    """A pass written down: calls of modules, sums of two tensors, and what else reads a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = 0
        self.uses: list[Use] = []
        self.open: list[Use] = []
        self.sums: list[tuple[int, Tensor, Node, Tensor, Node, Tensor]] = []
        self.reads: list[tuple[int, str, list[Tensor]]] = []

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    def entered(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.open.append(Use(module, self.tick(), (*args, *kwargs.values())))

    def left(self, module: nn.Module, args: Any, output: Any) -> None:
        use = self.open.pop()
        use.ended, use.given = self.tick(), output
        self.uses.append(use)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = name_of(function), kwargs or {}
        two = [one for one in args[:2] if isinstance(one, Tensor) and one.requires_grad] if name in ("add", "iadd") else []
        edges = [get_gradient_edge(one).node for one in two]
        output = function(*args, **kwargs)
        if isinstance(output, Tensor):
            at = self.tick()
            self.reads.append((at, name, list(tensors_in([args, kwargs]))))
            if len(two) == 2 and two[0].shape == two[1].shape and not kwargs:
                self.sums.append((at, two[0], edges[0], two[1], edges[1], output))
        return output


def _heard(models: Sequence[nn.Module], call: Call, inputs: Any) -> _Listening:
    heard, handles = _Listening(), []
    for _, module in modules_of(models):
        handles.append(module.register_forward_pre_hook(heard.entered, with_kwargs=True))
        handles.append(module.register_forward_hook(heard.left, prepend=True))  # what it gives itself, before edits add to it
    fresh = mapped(inputs, lambda x: x.detach().clone().requires_grad_() if x.is_floating_point() else x)
    try:
        with untouched(models), torch.enable_grad(), heard:
            call(fresh)
    finally:
        for handle in handles:
            handle.remove()
    return heard


def _additions(heard: _Listening) -> Iterator[Addition]:
    """The sums of which one part was computed from the other, with the modules on the way."""
    made: dict[Node, nn.Module] = {}
    for use in heard.uses:
        given = next(tensors_in(use.given), None)
        if (
            isinstance(use.module, (*_WEIGHTED, *_NORMS, nn.MultiheadAttention))
            and given is not None
            and given.grad_fn is not None
        ):
            made.setdefault(given.grad_fn, use.module.out_proj if isinstance(use.module, nn.MultiheadAttention) else use.module)
    for at, first, first_node, second, second_node, total in heard.sums:
        for skip, skip_node, branch, branch_node in (
            (first, first_node, second, second_node),
            (second, second_node, first, first_node),
        ):
            found = _between(branch_node, skip_node, made)
            if found is not None and skip_node is not branch_node:
                yield Addition(at, skip, branch, total, *found)
                break


def _between(end: Node, start: Node, made: dict[Node, nn.Module]) -> tuple[list[nn.Module], list[nn.Module]] | None:
    """The modules whose output comes last, and all of them, from a node of the graph back to another; None: no way leads."""
    ends: list[nn.Module] = []
    held: list[nn.Module] = []
    seen, left, reached, bare = {end}, [(end, True)], False, False
    while left:
        node, open_ = left.pop()
        if node is start:
            reached, bare = True, bare or open_
            continue
        if node in made:
            held.append(made[node])
            if open_:
                ends.append(made[node])
            open_ = False
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                if len(seen) > MOST_NODES:
                    return None
                seen.add(following)
                left.append((following, open_))
    return (([] if bare else ends), held) if reached else None


def in_a_row(models: Sequence[nn.Module], call: Call, inputs: Any, members: Sequence[nn.Module]) -> bool:
    """Whether each member is called once, on what was computed from the output of the one before."""
    uses = [use for use in _heard(models, call, inputs).uses if any(use.module is one for one in members)]
    if [id(use.module) for use in uses] != [id(one) for one in members]:
        return False
    return all(_reads(after, before) for before, after in itertools.pairwise(uses))


def _reads(after: Use, before: Use) -> bool:
    taken, given = next(tensors_in(after.taken), None), next(tensors_in(before.given), None)
    if taken is None or given is None or not taken.requires_grad or not given.requires_grad:
        return False
    start, end = get_gradient_edge(given).node, get_gradient_edge(taken).node
    return start is end or _between(end, start, {}) is not None


def zero_branches(models: Sequence[nn.Module], call: Call, inputs: Any, *, fixup: bool = False) -> list[Addition]:
    r"""The last layer of every residual branch becomes zero, so that the network begins as its skip paths alone.

    With ``fixup`` the last layer of the model becomes zero too, and the other weights of a branch of m layers are multiplied by
    :math:`L^{-1/(2m-2)}`, where L is the number of branches. Raises ``ModelError`` where no branch is seen, or where one ends
    in something that is not zero with its weights. Sources: Goyal et al. 2017, arXiv:1706.02677, section 5.1; Zhang et al.
    2019, arXiv:1901.09321, section 3 (without its scalars).
    """
    heard = _heard(models, call, inputs)
    found = [one for one in _additions(heard) if one.ends]
    if not found:
        raise ModelError("no residual branch that ends in a weighted layer was seen", remedy='Edit("residual") adds some')
    last = {id(module) for one in found for module in one.ends}
    with torch.no_grad():
        if fixup:
            _scale_branches(found, last)
            weighted = [use.module for use in heard.uses if isinstance(use.module, _WEIGHTED)]
            inside = {id(module) for one in found for module in one.held}
            if weighted and id(weighted[-1]) not in inside:
                _zero(weighted[-1])
        for one in found:
            for module in one.ends:
                _zero(module)
    after = [one for one in _additions(_heard(models, call, inputs)) if any(id(module) in last for module in one.held)]
    if any(bool(one.branch.any()) for one in after):
        raise ModelError("a residual branch ends in a function that is not zero at zero, or a layer is in several places")
    return found


def _scale_branches(found: Sequence[Addition], last: set[int]) -> None:
    done: set[int] = set()
    for one in found:
        layers = {id(module): module for module in one.held if isinstance(module, _WEIGHTED)}
        for key, module in layers.items():
            if len(layers) > 1 and key not in last and key not in done:
                done.add(key)
                _weight(module).mul_(len(found) ** (-1.0 / (2 * len(layers) - 2)))


def _zero(module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        parameter.zero_()


def _weight(module: Any) -> Tensor:
    weight: Tensor = module.weight
    return weight


def norm_first(models: Sequence[nn.Module], call: Call, inputs: Any) -> int:
    """Normalise what goes into a residual branch instead of the sum behind it, in place; gives how many were changed.

    Torch's transformer layers have a switch for it. Of other blocks only those are changed in which all is seen: the sum goes
    into the normalisation and nowhere else, and the skip goes into modules of the branch and into the sum alone, each once a
    pass. Raises ``ModelError`` where there is none. Source: Xiong et al. 2020, arXiv:2002.04745, figure 1.
    """
    changed = 0
    for _, module in modules_of(models):
        if isinstance(module, _LAYERS) and not module.norm_first:
            module.norm_first, changed = True, changed + 1
    heard = _heard(models, call, inputs)
    for one in _additions(heard):
        norm = _behind(heard, one)
        if norm is None:
            continue
        readers = _readers(heard, one)
        if not readers:
            continue
        for use in readers:
            places = [place for place, taken in enumerate(use.taken) if taken is one.skip]
            use.module.register_forward_pre_hook(functools.partial(_normalised, norm, places), with_kwargs=True)
        norm.register_forward_hook(_passed_on)
        changed += 1
    if not changed:
        raise ModelError(
            "no block was seen that normalises behind a residual branch, in a way that can be turned round with certainty",
            remedy="move the normalisation by hand: x + branch(norm(x)) instead of norm(x + branch(x))",
        )
    return changed


def norm_last(models: Sequence[nn.Module]) -> int:
    """Take ``norm_first`` back: torch's layers by their switch, others where it was put in. Raises ``ModelError`` for none."""
    changed = 0
    for _, module in modules_of(models):
        if isinstance(module, _LAYERS) and module.norm_first:
            module.norm_first, changed = False, changed + 1
        changed += drop(module, _normalised, _passed_on)
    if not changed:
        raise ModelError("no block was seen that normalises before its residual branches by a switch")
    return changed


def _behind(heard: _Listening, one: Addition) -> nn.Module | None:
    """The normalisation that takes the sum, where nothing else does and it is called once."""
    takers = [use for use in heard.uses if any(taken is one.total for taken in use.taken)]
    norms = [use for use in takers if isinstance(use.module, _NORMS)]
    if len(norms) != 1 or sum(use.module is norms[0].module for use in heard.uses) > 1:
        return None
    norm = norms[0]
    if any(not (use.began <= norm.began and use.ended >= norm.ended) for use in takers):
        return None
    within = (norm.began, norm.ended)
    reads = [at for at, _, tensors in heard.reads if any(x is one.total for x in tensors) and not within[0] < at < within[1]]
    returned = [use for use in heard.uses if use.ended > one.at and any(x is one.total for x in tensors_in(use.given))]
    return norm.module if not reads and not returned else None


def _readers(heard: _Listening, one: Addition) -> list[Use]:
    """The outermost calls between skip and sum that take the skip; none where something else reads it or one comes twice."""
    takers = [use for use in heard.uses if any(taken is one.skip for taken in use.taken)]
    holders = [use for use in takers if use.began < one.at < use.ended]  # the block itself
    inside = [use for use in takers if use.ended < one.at and all(use.began > holder.began for holder in holders)]
    later = [use for use in takers if use not in holders and use not in inside]
    outer = [use for use in inside if not any(other.began < use.began and use.ended < other.ended for other in inside)]
    reads = [at for at, _, tensors in heard.reads if any(x is one.skip for x in tensors) and at != one.at]
    bare = [at for at in reads if not any(use.began < at < use.ended for use in outer)]
    once = all(sum(use.module is other.module for other in heard.uses) == 1 for use in outer)
    return outer if once and not bare and not later else []


def _normalised(norm: nn.Module, places: Sequence[int], module: nn.Module, args: Any, kwargs: Any) -> Any:
    """Give a module of the branch the normalised skip in the places where it takes the skip."""
    names = list(kwargs)
    given = [*args, *kwargs.values()]
    norm.__dict__["turned"] = True
    done = norm(given[places[0]])
    for place in places:
        given[place] = done
    return tuple(given[: len(args)]), dict(zip(names, given[len(args) :], strict=True))


def _passed_on(norm: nn.Module, args: Any, output: Any) -> Any:
    """Behind the branch the normalisation passes on what it gets; only before the branch it normalises."""
    return output if norm.__dict__.pop("turned", False) else args[0]
