"""What an exception out of a training step means: its text, matched to a cause and a fix in words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from isograd.records.fact import Fact


@dataclass(frozen=True, slots=True)
class Cause:
    """One kind of exception: ``text`` is searched in its message, ``types`` (where given) has to hold its type.

    ``summary``, ``remedy`` and ``where`` may name groups of ``text`` and the particulars of the fact in braces; ``where``
    stands for the place unless a module is known to have raised. ``needs`` is a particular that the fact has to have.
    """

    name: str
    text: str
    summary: str
    remedy: str
    where: str = "loop"
    types: tuple[str, ...] = ()
    needs: str = ""


CAUSES: tuple[Cause, ...] = (
    Cause(
        "second backward pass",
        r"backward through the graph a second time|Saved intermediate values of the graph are freed",
        "A backward pass goes through a graph that an earlier one has used up{carried}.",
        "state = state.detach() before the next batch where a state is kept; one backward pass on the sum of losses that share "
        "a graph; .detach() what another model made",
    ),
    Cause(
        "changed in place",
        r"modified by an inplace operation: \[[\w.]+ \[(?P<shape>[\d, ]*)\]\](?:.*?output \d+ of (?P<made>\w+))?",
        "A tensor of shape [{shape}] that the backward pass needs was changed after the forward pass{inplace}.",
        "optimizer.step() after all backward passes; x = x + y instead of x += y; no inplace=True behind a layer that needs "
        "its output",
    ),
    Cause(
        "changed in place",
        r"leaf Variable that requires grad is being used in an in-place operation",
        "A parameter is changed in place while gradients are recorded.",
        "change it under torch.no_grad(), or make a new tensor",
    ),
    Cause(
        "loss without graph",
        r"does not require grad and does not have a grad_fn|'(?:float|int|ndarray|float64|float32)' object has no attribute "
        r"'backward'",
        "The loss has no graph: nothing that was to be trained stands between the model and it{left}.",
        "compute the loss from the model's output, without .item(), .detach(), numpy, torch.tensor(...) or no_grad on the way; "
        "and let something have requires_grad=True",
        "loss",
    ),
    Cause(
        "loss not a scalar",
        r"grad can be implicitly created only for scalar outputs",
        "The loss is not one number, so that no gradient is defined.",
        "loss.mean().backward(), or reduction='mean' in the loss",
        "loss",
    ),
    Cause(
        "loss called wrongly",
        r"Boolean value of Tensor with more than one value is ambiguous",
        "A tensor of many values was taken for one truth value; outputs and targets given to a loss's constructor do this.",
        "nn.MSELoss()(outputs, targets), with both pairs of brackets; or .any() or .all() where a condition is meant",
        "loss",
    ),
    Cause(
        "label out of range",
        r"Target (?P<label>-?\d+) is out of bounds|Assertion `t >= 0 && t < n_classes`|Class values must be (?:smaller|non)",
        "A label is no class that the model can answer{label}: classes are counted from 0 to one less than the outputs.",
        "as many outputs as the largest label plus 1; labels that begin at 0; ignore_index for labels that mean nothing",
        "loss",
    ),
    Cause(
        "index out of range",
        r"index out of range in self|`srcIndex < srcSelectDimSize`|index (?P<label>-?\d+) is out of bounds for dimension",
        "An index is larger than the table it looks into{wants}.",
        "as many rows in the embedding as the largest index plus 1; check tokens for values that the vocabulary lacks",
    ),
    Cause(
        "one-hot targets",
        r"0D or 1D target tensor expected, multi-target not supported|Expected floating point type for target with class prob",
        "The targets are one-hot rows, and the loss wants class numbers.",
        "targets.argmax(1) for class numbers; or targets.float() where they are probabilities",
        "loss",
    ),
    Cause(
        "not a number",
        r"all elements of (?:input|target) should be between 0 and 1",
        "What is checked for its range holds NaN{nan}.",
        "find these rows with torch.isfinite(inputs).all(1), and the same of the targets; where the batch is finite, look at "
        "the weights: a step before may have destroyed them (a lower learning rate, clipping)",
        "loss",
        needs="nan",
    ),
    Cause(
        "not probabilities",
        r"all elements of (?P<which>input|target) should be between 0 and 1",
        "The {which} of a binary cross-entropy is no probability: it leaves 0 to 1.",
        "binary_cross_entropy_with_logits for raw outputs; targets of 0 and 1",
        "loss",
    ),
    Cause(
        "assertion on the device",
        r"device-side assert triggered",
        "An assertion failed on the device: most often a label or an index that is out of range.",
        "run one batch on the CPU, which names the value; or set CUDA_LAUNCH_BLOCKING=1 to see the line",
    ),
    Cause(
        "batch norm of one",
        r"Expected more than 1 value per channel when training",
        "A batch norm in training was given a single value a channel: its deviation is not defined.",
        "drop_last=True in the loader, or a larger batch; model.eval() where nothing is trained; GroupNorm or LayerNorm",
    ),
    Cause(
        "not a number",
        r"to satisfy the constraint .*but found invalid values|returned nan values in its|contains either `inf`, `nan`|"
        r"contained? NaN|contains NaN|non-finite (?:entries|values)|cannot convert float (?:NaN|infinity) to integer",
        "A value is not finite, or out of its range, where torch checks it.",
        "look for the first NaN (isograd.watch says where); a lower learning rate, clipping, or an eps in divisions, "
        "logarithms and roots",
    ),
    Cause(
        "out of memory",
        r"out of memory|can't allocate memory|Unable to allocate",
        "Memory ran out.",
        "a smaller batch with accumulated gradients; no tensors with graph kept over steps (total += loss.item(), not loss); "
        "autocast; checkpointed activations",
    ),
    Cause("out of memory", r"", "Memory ran out.", "a smaller batch; fewer things kept over the steps", types=("MemoryError",)),
    Cause(
        "devices",
        r"on the same device|Input type \(torch\.(?:cuda\.)?\w+\) and weight type \(torch\.(?:cuda\.)?\w+\) should be the same"
        r"|not compiled with CUDA enabled|Found no NVIDIA driver|Cannot copy out of meta tensor",
        "Tensors of one operation lie on different devices.",
        "model.to(device) before the optimizer is made, and inputs, targets and fresh tensors .to(device) in every step",
    ),
    Cause(
        "data types",
        r"expected scalar type (?P<want>\w+) but found (?P<got>\w+)|expected target dtype to be (?P<want2>[\w ]+), but got "
        r"(?P<got2>\w+)",
        "An operation wants numbers of type {want} and got {got}{wants}.",
        "inputs.float() (numpy makes float64), targets.long() for class numbers, targets.float() for regression",
    ),
    Cause(
        "data types",
        r"must have the same dtype|should be the same$|Found dtype (?P<got>\w+) but expected (?P<want>\w+)|not implemented for "
        r"'|to have one of the following scalar types|can't be cast to the desired output type|type torch.\w+ but expected|"
        r"can't convert np.ndarray of type|expected m1 and m2 to have the same dtype|Input type .* should be the same",
        "The numbers that met are of different or unfit types{wants}.",
        "inputs.float() (numpy makes float64), targets.long() for class numbers, targets.float() for regression",
    ),
    Cause(
        "numpy needs no graph",
        r"Can't call numpy\(\) on Tensor that requires grad",
        "A tensor with a graph was to become a numpy array.",
        "tensor.detach().cpu().numpy() for a plot or a metric; keep what is trained in torch",
    ),
    Cause(
        "a tuple, not a tensor",
        r"must be Tensor, not (?P<got>\w+)|'(?P<kind>tuple|list)' object has no attribute '(?:dim|size|shape|view|float)'",
        "A tensor was wanted and something else came: recurrent and attention layers return a tuple (output, state).",
        "output, state = self.rnn(x); and output.logits where a model returns a structure",
    ),
    Cause(
        "argument missing or too many",
        r"missing \d+ required (?:positional|keyword-only) argument|positional arguments? but|unexpected keyword argument",
        "A function was called with other arguments than it takes: {message}.",
        "compare the call with the signature of forward",
        types=("TypeError",),
    ),
    Cause(
        "shapes",
        r"mat1 and mat2 shapes cannot be multiplied \((?P<a>\d+)x(?P<got>\d+) and (?P<want>\d+)x(?P<b>\d+)\)",
        "{module} takes {want} features and was given {got}.",
        "{want} -> {got} in its first argument, or flatten differently before it: print the shape in front of it",
    ),
    Cause(
        "shapes",
        r"expected input\[(?P<size>[\d, ]*)\] to have (?P<want>\d+) channels, but got (?P<got>\d+) channels",
        "{module} takes {want} channels and was given {got} (input of shape [{size}]).",
        "in_channels={got}; or permute the axes: torch wants (batch, channels, height, width)",
    ),
    Cause(
        "shapes",
        r"input\.size\(-1\) must be equal to input_size\. Expected (?P<want>\d+), got (?P<got>\d+)|running_mean should contain "
        r"(?P<got2>\d+) elements not (?P<want2>\d+)",
        "{module} was made for another number of features than it was given{wants}.",
        "make it with the number of features that come, or check the order of the axes in front of it",
    ),
    Cause(
        "shapes",
        r"Expected input batch_size \((?P<a>\d+)\) to match target batch_size \((?P<b>\d+)\)",
        "The model answered {a} examples and there are {b} targets.",
        "a view or reshape mixes the batch axis with others: x.flatten(1), not x.view(-1, n); or the targets belong to "
        "another batch",
        "loss",
    ),
    Cause(
        "shapes",
        r"Using a target size \(torch\.Size\((?P<b>.*?)\)\) that is different to the input size \(torch\.Size\((?P<a>.*?)\)\)",
        "Outputs of shape {a} and targets of shape {b} do not fit.",
        "outputs.squeeze(1), or targets.unsqueeze(1)",
        "loss",
    ),
    Cause(
        "shapes",
        r"size of tensor a \((?P<a>\d+)\) must match the size of tensor b \((?P<b>\d+)\)",
        "Two tensors do not fit: {a} against {b} on one axis{wants}.",
        "print both shapes in front of the line; unsqueeze, transpose or a projection makes them fit",
    ),
    Cause(
        "shapes",
        r"shape '.*' is invalid for input of size|Sizes of tensors must match|stack expects each tensor to be equal size|"
        r"equal size|Kernel size can't be greater than actual input|expected (?:\d|input with shape)|Expected (?:\d|hidden|"
        r"input|3-?D)|Dimension (?:out of range|size)|must match the (?:existing )?size|dimensions|Given (?:groups|transposed|"
        r"normalized_shape)|size mismatch|shape mismatch|Output size is too small|inconsistent tensor size|"
        r"mat1 and mat2|both arguments to matmul|einsum|einops",
        "Shapes do not fit{wants}: {message}.",
        "print the shape in front of the line and compare it with what the layer wants",
    ),
    Cause(
        "state does not fit",
        r"Error\(s\) in loading state_dict",
        "The state that is loaded is of another model.",
        "build the model with the settings that it was saved with; strict=False only where missing parts are meant",
    ),
    Cause(
        "optimizer without parameters",
        r"optimizer got an empty parameter list|can't optimize a non-leaf Tensor|appear in more than one parameter group",
        "The optimizer was not given parameters that it can step: {message}.",
        "make it from model.parameters(), as a list where it is used twice; register modules in nn.ModuleList",
        "optimizer",
    ),
    Cause(
        "model not set up",
        r"before Module\.__init__\(\) call|missing the required \"forward\" function",
        "The model is not set up: {message}.",
        "super().__init__() first in __init__, and a method called forward",
    ),
    Cause(
        "no gradient yet",
        r"'NoneType' object has no attribute '(?:data|zero_|norm|add_|mul_|clone|abs|pow|mean|item)'",
        "Something is None that was to be a tensor: a gradient is None before the first backward pass and where none arrives.",
        "skip it where it is None; if it stays so, the graph is cut in front of it",
    ),
)


def known(fact: Fact) -> tuple[Cause, re.Match[str]] | None:
    """The first cause that fits the type and the text of an exception.

    >>> known(Fact("raised", settings=(("type", "IndexError"), ("message", "Target 5 is out of bounds."))))[0].name
    'label out of range'
    """
    kind, message = str(fact.get("type", "")), str(fact.get("message", ""))
    for cause in CAUSES:
        found = re.search(cause.text, message, re.DOTALL)
        if found and (not cause.types or kind in cause.types) and (not cause.needs or fact.get(cause.needs, "")):
            return cause, found
    return None
