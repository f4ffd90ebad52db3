"""A torch network as ONNX bytes with a free batch axis, exported quietly, and its weights as safetensors bytes."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import safetensors.torch
import torch
from torch import nn

_LOUD = "torch.onnx._internal.exporter._registration"  # says that torchvision is missing, which nothing here needs


def settled(model: nn.Module) -> nn.Module:
    """A copy on the CPU in evaluation mode; the person's model stays where and as it is."""
    return copy.deepcopy(model).to("cpu").eval()


def onnx_bytes(model: nn.Module, rows: torch.Tensor) -> bytes:
    """``model`` as an ONNX file, traced with some of ``rows``; it holds no path and no source line of this machine."""
    # A batch of one would be taken for a constant.
    example = (rows if len(rows) > 1 else rows.expand(2, *rows.shape[1:]))[:2].contiguous()
    # The newer exporter writes a plain RNN out, step after step, and is slow for an LSTM; the older has operators for them.
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    proto = _scripted(model, example) if recurrent else _traced(model, example)
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.value_info, *proto.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString()
    return content


def _traced(model: nn.Module, example: torch.Tensor) -> onnx.ModelProto:
    with _quiet():
        program = torch.onnx.export(
            model,
            (example,),
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # only an export straight into a file gives nothing
    proto: onnx.ModelProto = program.model_proto
    return proto


def _scripted(model: nn.Module, example: torch.Tensor) -> onnx.ModelProto:
    file: Any = io.BytesIO()  # it takes one, and says that it takes paths
    axes = {"input": {0: "batch"}, "output": {0: "batch"}}
    with _quiet():
        torch.onnx.export(
            model, (example,), file, input_names=["input"], output_names=["output"], dynamic_axes=axes, dynamo=False
        )
    return onnx.load_from_string(file.getvalue())


def torch_outputs(model: nn.Module, rows: torch.Tensor) -> npt.NDArray[np.float32]:
    """What ``model`` gives for ``rows``, all at once."""
    with torch.no_grad():
        outputs: npt.NDArray[np.float32] = model(rows).numpy()
    return outputs


def safetensors_bytes(model: nn.Module) -> bytes:
    """The model's ``state_dict`` as a safetensors file; a tied weight is written under each of its names."""
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in model.state_dict().items()}
    return safetensors.torch.save(tensors, metadata={"format": "pt"})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger, state = logging.getLogger(_LOUD), torch.get_rng_state()
    disabled = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled
        torch.set_rng_state(state)
