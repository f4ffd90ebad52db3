"""An edit as the exact lines to write, for where it cannot be placed with certainty."""

from __future__ import annotations

import re
from collections.abc import Mapping

from isograd.records.edit import Edit
from isograd.render.placing import UncertainError, can_place

_EVERY_LAYER = (
    "for m in {model}.modules():\n    if isinstance(m, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding, nn.RNNBase)):"
    "\n        for weights in m.parameters():\n            if weights.dim() > 1:"
)
_ZERO = "\n            else:\n                nn.init.zeros_(weights)  # biases"

_FROM_NOTHING = (
    "\nfor path in {model}.modules():\n    if isinstance(path, Residual):"
    "\n        nn.init.zeros_(path[0].weight)  # where the layer keeps the shape\n        nn.init.zeros_(path[0].bias)"
)

LINES: dict[str, str] = {
    "clear_gradients": "{optimizer}.zero_grad()  # right before loss.backward(), and nowhere else",
    "train_mode": "{model}.train()  # before the loop, and again after every evaluation",
    "fresh_batches": "for inputs, targets in {loader}:  # instead of next(iter({loader})) at every step",
    "constant_rate": "# leave out scheduler.step()",
    "take_steps": "{optimizer}.step()  # after loss.backward()",
    "keep_weights": "# leave out what draws weights inside of the loop (reset_parameters, apply, nn.init)",
    "steps": "for step in range({value}):",
    "clip_norm": "torch.nn.utils.clip_grad_norm_({model}.parameters(), {value})  # right before {optimizer}.step()",
    "clip_value": "torch.nn.utils.clip_grad_value_({model}.parameters(), {value})  # right before {optimizer}.step()",
    "clip_unit": "for p in {model}.parameters():  # right before {optimizer}.step()\n"
    "    weight, grad = (one.flatten(1) if p.dim() > 1 else one.reshape(1, -1) for one in (p.detach(), p.grad))\n"
    "    most = {value} * weight.norm(dim=1).clamp(min=1e-3) / grad.norm(dim=1).clamp(min=1e-30)\n"
    "    p.grad.mul_(most.clamp(max=1).view(-1, *[1] * (p.dim() - 1)))",
    "schedule:cosine": "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR({optimizer}, steps)  # of the whole run\n"
    "scheduler.step()  # after each {optimizer}.step()",
    "schedule:linear": "scheduler = torch.optim.lr_scheduler.LinearLR({optimizer}, 1.0, 0.0, steps)  # of the whole run\n"
    "scheduler.step()  # after each {optimizer}.step()",
    "warm_up": "warm_up = torch.optim.lr_scheduler.LinearLR({optimizer}, 1 / {value}, 1.0, {value})\n"
    "warm_up.step()  # after each {optimizer}.step()",
    "accumulate": "(loss / {value}).backward()\n"
    "if (step + 1) % {value} == 0:\n    {optimizer}.step()\n    {optimizer}.zero_grad()",
    "parameters": "{optimizer} = {kind}({model}.parameters(), ...)  # after the whole model is built",
    "unfreeze": "{model}.requires_grad_(True)  # before the optimizer is made, of {model}.parameters()",
    "learning_rate": "{optimizer} = {kind}({model}.parameters(), lr={value})",
    "momentum": "{optimizer} = {kind}({model}.parameters(), ..., momentum={value})",
    "beta1": "{optimizer} = {kind}({model}.parameters(), ..., betas=({value}, ...))",
    "beta2": "{optimizer} = {kind}({model}.parameters(), ..., betas=(..., {value}))",
    "eps": "{optimizer} = {kind}({model}.parameters(), ..., eps={value})",
    "weight_decay": "{optimizer} = {kind}({model}.parameters(), ..., weight_decay={value})",
    "decay_l1": "for p in {model}.parameters():  # right before {optimizer}.step()\n"
    "    p.grad.add_(p.detach().sign(), alpha={value})",
    "decay_decoupled": "with torch.no_grad():  # right before {optimizer}.step(); for Adam: AdamW(..., weight_decay={value})\n"
    "    for group in {optimizer}.param_groups:\n        for p in group[\"params\"]:\n"
    "            p.mul_(1 - group[\"lr\"] * {value})",
    "reset_state": "{optimizer}.state.clear()",
    "optimizer:sgd": "{optimizer} = torch.optim.SGD({model}.parameters(), lr=0.05, momentum=0.9)",
    "optimizer:adam": "{optimizer} = torch.optim.Adam({model}.parameters(), lr=1e-3)",
    "input_scale": "inputs = (inputs - mean) / deviation  # of each feature, over the training examples",
    "target_scale": "targets = (targets - mean) / deviation  # over the training examples; undone where answers are shown",
    "shuffle": "{loader} = DataLoader(..., shuffle=True)",
    "batch_size": "{loader} = DataLoader(..., batch_size={value})",
    "loss": "loss = torch.nn.functional.cross_entropy(outputs, targets)  # classes; of scores, without a softmax\n"
    "loss = torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets)  # yes or no\n"
    "loss = torch.nn.functional.mse_loss(outputs, targets)  # numbers, of one shape",
    "last": "# leave out {before} behind the last layer: the model returns what that layer gives",
    "keep_graph": "# leave out .detach(), .data, .item(), .numpy() and torch.no_grad() between the layers",
    "precision": "{model} = {model}.to(torch.{value})  # and its inputs",
    "dropout": "nn.Dropout({value})",
    "initialisation:usual": "# draw nothing after the layers are made, each of which draws its own weights; or, at the end:\n"
    "for m in {model}.modules():\n    if hasattr(m, \"reset_parameters\"):\n        m.reset_parameters()",
    "initialisation:he": _EVERY_LAYER + '\n                nn.init.kaiming_normal_(weights, nonlinearity="relu")' + _ZERO,
    "initialisation:glorot": _EVERY_LAYER + "\n                nn.init.xavier_uniform_(weights)" + _ZERO,
    "initialisation:lecun": _EVERY_LAYER + '\n                nn.init.kaiming_normal_(weights, nonlinearity="linear")' + _ZERO,
    "initialisation:orthogonal": _EVERY_LAYER + "\n                nn.init.orthogonal_(weights)" + _ZERO,
    "initialisation:fixup": _EVERY_LAYER + '\n                nn.init.kaiming_normal_(weights, nonlinearity="relu")' + _ZERO
    + _FROM_NOTHING + "\nnn.init.zeros_(last.weight)  # of the layer that answers",
    "initialisation:zero_residual": _FROM_NOTHING.lstrip("\n"),
    "activation": "{module}()  # instead of {before}, between the layers",
    "nonlinearity": "{module}()  # behind every layer but the last; in forward: nn.functional.{value}(self.layer(x))",
    "width": "nn.Linear({value} * n_in, {value} * n_out)  # every hidden layer {value} times as wide",
    "depth": "hidden = hidden[: max(1, round({value} * len(hidden)))]  # of the list of hidden layers, where it is made",
    "normalisation": "nn.LayerNorm(width)  # behind every hidden layer",
    "normalisation:batch": "nn.BatchNorm2d(channels)  # behind every hidden Conv2d; nn.BatchNorm1d behind Conv1d and Linear",
    "residual": "class Residual(nn.Sequential):\n    def forward(self, x):\n        out = super().forward(x)\n"
    "        return x + out if x.shape == out.shape else out\n"
    "Residual(nn.Linear(width, width))  # around every layer that keeps the shape, its activation left outside",
    "norm_first": "nn.TransformerEncoderLayer(..., norm_first=True)",
    "cell": "nn.{cell}(...)  # instead of nn.RNN: the same arguments",
    "forget_bias": "for m in {model}.modules():\n    if isinstance(m, (nn.LSTM, nn.GRU)):\n"
    "        for name, bias in m.named_parameters():\n            if name.startswith(\"bias\"):\n"
    "                keeps = bias.data[m.hidden_size : 2 * m.hidden_size]\n"
    "                nn.init.constant_(keeps, {value} if \"_ih\" in name else 0.0)",
    "truncate": "state = state.detach()  # every {value} time steps",
}  # fmt: skip
"""By kind, or by kind and value. ``{model}``, ``{optimizer}`` and ``{loader}`` are the program's own names for them."""

OWN = "YourOptimizer"
"""Stands for the optimizer's class where the program's text is not seen: any other name would ask for another optimizer."""


def names_in(sources: Mapping[str, str]) -> dict[str, str]:
    r"""What the program calls its optimizer and its model, and the optimizer's class; the usual names where that is not seen.

    >>> names_in({"a.py": "import torch\nopt = torch.optim.SGD(net.parameters(), lr=1.0)\n"})["model"]
    'net'
    """
    found = {"model": "model", "optimizer": "optimizer", "loader": "loader", "kind": OWN}
    if not can_place():
        return found
    from isograd.render.placing.arguments import optimizer_of
    from isograd.render.placing.source import program_of
    from isograd.render.placing.statements import model_name, optimizer_name

    for text in sources.values():
        try:
            program = program_of(text)
            call = optimizer_of(program)
        except UncertainError:
            continue
        if call is not None:
            seen = {"model": model_name(program), "optimizer": optimizer_name(program), "kind": program.text(call.func)}
            return found | {key: name for key, name in seen.items() if name}
    return found


def lines_of(edit: Edit, names: Mapping[str, str] | None = None) -> str:
    r"""What to write for an edit: a comment that says what it is for, and the lines.

    >>> print(lines_of(Edit("clip_norm", 1.0), {"model": "net"}))
    # clip the gradient to the total norm 1 before each step
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1)  # right before optimizer.step()
    """
    usual = {"model": "model", "optimizer": "optimizer", "loader": "loader", "kind": OWN, **(names or {})}
    where = f", at {edit.where}" if edit.where else ""
    told = f"# {edit.text}{where}"
    template = "" if edit.off else LINES.get(f"{edit.kind}:{edit.value}", LINES.get(edit.kind, ""))
    if not template:
        return told
    value = edit.value if isinstance(edit.value, str) else f"{edit.value:g}" if edit.value is not None else "..."
    cell = str(value).upper() if edit.kind == "cell" else ""
    filled = usual | {"value": value, "before": str(edit.before or "the function"), "cell": cell, "module": _module(value)}
    return f"{told}\n{template.format_map(filled)}"


def _module(name: str) -> str:
    known = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "elu": "ELU", "selu": "SELU", "gelu": "GELU", "silu": "SiLU"}
    return "nn." + known.get(name, re.sub(r"(?:^|_)(\w)", lambda found: found[1].upper(), name))
