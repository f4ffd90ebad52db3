"""Faults of the model, its loss and its data."""

from __future__ import annotations

from faults.operators import FIRST, SECOND, operator

# initial weights
operator("weights all zero", "initial", FIRST, "D WCI; T wrong weights initialisation", zeros={"init": "zeros"})
operator(
    "weights too large",
    "initial",
    FIRST,
    "D WCI; T wrong weights initialisation",
    n1={"init": "normal 1"},
    n10={"init": "normal 10"},
)
operator(
    "weights all the same",
    "initial",
    SECOND,
    "D WCI; T wrong weights initialisation",
    c01={"init": "constant 0.1"},
    c1={"init": "constant 1"},
)
operator(
    "weights too small",
    "initial",
    SECOND,
    "D WCI; T wrong weights initialisation",
    n4={"init": "normal 0.0001"},
    n8={"init": "normal 1e-8"},
)
operator("biases far below zero", "initial", SECOND, "D WAB; T wrong weights initialisation", b10={"init": "negative 10"})
# activations between the layers
operator("sigmoid everywhere", "activation", FIRST, "D ACH; T wrong type of activation", sigmoid={"activation": "sigmoid"})
operator("no activation", "activation", SECOND, "D ARM; T missing activation", linear={"activation": "linear"})
operator("softmax between layers", "activation", FIRST, "D ACH; T wrong type of activation", softmax={"activation": "softmax"})
operator(
    "activation without slope",
    "activation",
    SECOND,
    "D ACH; T wrong type of activation",
    sign={"activation": "sign"},
    threshold={"activation": "threshold"},
)
# the last activation
operator("ReLU at the end", "last activation", FIRST, "D AAL; T wrong activation at the output", relu={"last": "relu"})
operator("softmax twice", "last activation", FIRST, "D AAL; T redundant softmax", "classes", softmax={"last": "softmax"})
operator(
    "tanh on numbers",
    "last activation",
    FIRST,
    "D AAL; T wrong activation at the output",
    "numbers|gan",
    tanh={"last": "tanh"},
)
operator(
    "softmax over the batch",
    "last activation",
    SECOND,
    "T wrong activation at the output",
    "classes|numbers",
    softmax={"last": "batch softmax"},
)
operator(
    "sigmoid on numbers",
    "last activation",
    SECOND,
    "D ACH; T wrong activation at the output",
    "numbers",
    sigmoid={"last": "sigmoid"},
)
operator(
    "sigmoid before logits",
    "last activation",
    SECOND,
    "D AAL; T redundant activation",
    "binary|classes",
    sigmoid={"last": "sigmoid"},
)
operator(
    "softmax at the end",
    "last activation",
    SECOND,
    "T wrong activation at the output",
    "binary|numbers",
    softmax={"last": "softmax"},
)
operator(
    "softmax of one column",
    "last activation",
    FIRST,
    "T wrong activation at the output",
    "binary",
    softmax={"last": "softmax"},
)
# the loss
operator("log missing", "loss", FIRST, "D LCH; T wrong loss calculation", "classes|binary", nll={"loss": "missing log"})
operator("absolute error of classes", "loss", FIRST, "D LCH; T wrong loss function", "classes|binary", l1={"loss": "absolute"})
operator("cross-entropy of numbers", "loss", FIRST, "D LCH; T wrong loss function", "numbers", bce={"loss": "cross-entropy"})
operator(
    "logits as log-probabilities", "loss", SECOND, "D LCH; T wrong loss function", "classes", nll={"loss": "nll of logits"}
)
operator(
    "logits as probabilities",
    "loss",
    SECOND,
    "D LCH; T wrong loss function",
    "binary",
    bce={"loss": "logits as probabilities"},
)
operator("softmax over the wrong axis", "loss", SECOND, "T wrong loss calculation", "classes", axis={"loss": "wrong axis"})
operator(
    "squared error of the index", "loss", SECOND, "D LCH; T wrong loss function", "classes", index={"loss": "squared index"}
)
operator("cross-entropy of one column", "loss", SECOND, "D LCH; T wrong loss function", "binary", column={"loss": "one column"})
operator("error without square", "loss", SECOND, "T wrong loss calculation", "numbers", plain={"loss": "no square"})
operator("sign of the loss", "loss", FIRST, "T wrong loss calculation", negated={"loss": "negated"})
operator("targets broadcast", "broadcast", FIRST, "T wrong tensor shape", "numbers|binary", columns={"loss": "broadcast"})
operator("outputs broadcast", "broadcast", SECOND, "T wrong tensor shape", "numbers", rows={"loss": "broadcast the other way"})
operator("answers against all targets", "broadcast", SECOND, "T wrong tensor shape", "binary", all={"loss": "broadcast"})
# the architecture
operator("bottleneck", "architecture", FIRST, "T suboptimal number of neurons", w1={"width": 1}, w2={"width": 2})
operator("layers too narrow", "architecture", SECOND, "T suboptimal number of neurons", w1={"width": 1}, w3={"width": 3})
operator("too deep without skips", "architecture", FIRST, "T wrong network architecture", d30={"depth": 30}, d12={"depth": 12})
operator("far too deep", "architecture", SECOND, "T wrong network architecture", d50={"depth": 50}, d20={"depth": 20})
# recurrent layers
operator("state carried over batches", "recurrent", FIRST, "T wrong network architecture", carried={"state": "carried"})
operator("first time step read", "recurrent", FIRST, "T wrong network architecture", first={"read": "first"})
operator("batch and time swapped", "recurrent", SECOND, "T wrong tensor shape", "recurrent", swapped={"axes": "swapped"})
operator("attention over the batch", "recurrent", FIRST, "T wrong tensor shape", "attention", swapped={"axes": "swapped"})
# the data
operator(
    "inputs unscaled",
    "input scale",
    FIRST,
    "T missing preprocessing",
    x100={"input_scale": 100.0, "input_shift": 100.0},
    x1e4={"input_scale": 1e4},
    shift={"input_shift": 300.0},
)
operator(
    "inputs scaled away", "input scale", SECOND, "T wrong preprocessing", x4={"input_scale": 1e-4}, x2={"input_scale": 1e-2}
)
operator(
    "one feature in huge units",
    "input scale",
    SECOND,
    "T missing preprocessing",
    one={"columns": "one huge"},
    many={"columns": "many huge"},
)
operator("features constant", "features", FIRST, "T training data quality", constant={"columns": "constant"})
operator("divided by a deviation of zero", "features", SECOND, "T wrong preprocessing", zero={"columns": "no deviation"})
operator("NaN in a column", "features", FIRST, "T training data quality", nan={"columns": "nan"})
operator(
    "targets unscaled",
    "target scale",
    FIRST,
    "T missing preprocessing",
    x1000={"target_scale": 1000.0, "target_shift": 5000.0},
    x100={"target_scale": 100.0},
)
operator(
    "targets far from zero",
    "target scale",
    SECOND,
    "T missing preprocessing",
    shift={"target_shift": 300.0},
    x1e4={"target_scale": 1e4},
)
operator("labels shuffled", "labels", FIRST, "D TCL; T wrong labels", shuffled={"labels": "shuffled"})
operator("labels corrupted", "labels", SECOND, "D TCL; T wrong labels", n95={"label_noise": 0.97}, n8={"label_noise": 0.85})
operator(
    "class weights wrong",
    "class weights",
    FIRST,
    "T unbalanced training data",
    graded={"class_weights": "graded"},
    inverted={"class_weights": "inverted"},
)
operator("one class alone counts", "class weights", SECOND, "T unbalanced training data", one={"class_weights": "one"})
# adversarial networks
operator("generator starved", "adversarial", FIRST, "T wrong training process", r3={"own_rate": 1e-3}, r2={"own_rate": 1e-2})
operator(
    "discriminator too strong",
    "adversarial",
    SECOND,
    "T wrong training process",
    fast={"rival_rate": 30.0, "own_rate": 0.1},
    steps={"rival_steps": 5, "rival_rate": 5.0, "own_rate": 0.03},
)
operator("discriminator too weak", "adversarial", FIRST, "T wrong training process", r3={"rival_rate": 1e-3})
operator("discriminator hardly learns", "adversarial", SECOND, "T wrong training process", r3={"rival_rate": 3e-3})
