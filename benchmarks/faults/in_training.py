"""Faults of the training: rates, the optimizer and its constants, the loop, what learns, and in which mode."""

from __future__ import annotations

from faults.operators import FIRST, SECOND, operator, times, under_adam, under_sgd

LOSSES = "classes|binary|numbers"
"""Kinds of programs that ask ``losses`` for a wrong loss."""

# learning rate: too high on one side, too low or growing on the other
operator("rate too high", "rate high", FIRST, "D HLR; T learning rate", x30=times(30), x300=times(300), x3000=times(3000))
operator(
    "rate decays at once",
    "rate low",
    FIRST,
    "T learning rate schedule",
    x07={"schedule": "x0.7"},
    x09={"schedule": "x0.9"},
)
operator("rate too low", "rate low", SECOND, "D HLR; T learning rate", x001=times(0.01), x0001=times(0.001))
operator("rate grows", "rate high", SECOND, "T learning rate schedule", x105={"schedule": "x1.05"}, x12={"schedule": "x1.2"})
# constants of the optimizer
operator("epsilon huge", "constants", FIRST, "T optimizer: epsilon", eps1=under_adam(eps=10.0), eps100=under_adam(eps=1000.0))
operator("momentum near one", "constants", FIRST, "T optimizer", m999=under_sgd(momentum=0.9995), m1=under_sgd(momentum=1.01))
operator(
    "betas absurd",
    "constants",
    SECOND,
    "T optimizer",
    slow=under_adam(betas=(0.9995, 0.999)),
    swapped=under_adam(betas=(0.999, 0.1)),
)
operator(
    "momentum above one", "constants", SECOND, "T optimizer", m105=under_sgd(momentum=1.05), m0998=under_sgd(momentum=0.998)
)
operator(
    "optimizer swapped",
    "constants",
    SECOND,
    "D OCH; T wrong optimisation function",
    sgd=lambda s: {"optimizer": "sgd", "momentum": 0.0} if s.optimizer != "sgd" else {"optimizer": "adam"},
)
operator(
    "optimizer is SGD without momentum",
    "constants",
    FIRST,
    "D OCH; T wrong optimisation function",
    sgd=lambda s: {"optimizer": "sgd", "momentum": 0.0, "rate": 1e-3},
)
# regularisation that drowns the loss
operator(
    "weight decay overwhelms",
    "decay",
    FIRST,
    "D RAW",
    w03={"weight_decay": 0.3},
    w3={"weight_decay": 3.0},
    w30={"weight_decay": 30.0},
)
operator("penalty overwhelms", "decay", SECOND, "D RAW", p01={"penalty": 0.1}, p1={"penalty": 1.0})
operator("dropout too much", "dropout", SECOND, "D RCD", p9={"dropout": 0.95}, p99={"dropout": 0.99}, p7={"dropout": 0.8})
operator("dropout near one", "dropout", FIRST, "D RCD", p9={"dropout": 0.9}, p97={"dropout": 0.97})
# clearing the gradients
operator("gradients never cleared", "clearing", FIRST, "T training process", never={"clear": "never"})
operator("gradients cleared before the step", "clearing", SECOND, "T training process", between={"clear": "between"})
operator("gradients rarely cleared", "clearing", SECOND, "T training process", rarely={"clear": "rarely"})
# what the optimizer holds and what may move
operator("optimizer holds one layer", "parameters", FIRST, "T training process", first={"held": "first"}, last={"held": "last"})
operator("layers in a list", "parameters", FIRST, "T missing layer", list={"hidden": True})
operator("layers replaced late", "parameters", SECOND, "T training process", last={"replaced": "last"}, all={"replaced": "all"})
operator("optimizer holds biases only", "parameters", SECOND, "T training process", biases={"held": "biases"})
operator(
    "layers hidden in a list", "parameters", SECOND, "T missing layer", deep=lambda s: {"hidden": True, "depth": s.depth + 2}
)
operator("layers frozen by accident", "frozen", SECOND, "T training process", body={"frozen": "body"}, head={"frozen": "head"})
operator("body frozen", "frozen", FIRST, "T training process", body={"frozen": "body"})
operator("graph cut by detach", "cut", FIRST, "T API misuse", detach={"cut": "detach"})
operator("samples detached", "cut", FIRST, "T API misuse", "gan", detached={"loss": "detached"})
operator("loss without its graph", "cut", FIRST, "T API misuse", LOSSES, number={"loss": "number"})
operator("graph cut by no_grad", "cut", SECOND, "T API misuse", no_grad={"cut": "no_grad"}, numpy={"cut": "numpy"})
operator("loss wrapped anew", "cut", SECOND, "T API misuse", LOSSES, wrapped={"loss": "wrapped"})
# the loop
operator("eval mode while training", "mode", FIRST, "T training process", "batchnorm|dropout", eval={"mode": "eval"})
operator("modes swapped", "mode", SECOND, "T training process", "batchnorm|dropout|attention", swapped={"mode": "swapped"})
operator(
    "same batch for ever",
    "batches",
    FIRST,
    "D HDB; T training process",
    same={"sampling": "same"},
    small={"sampling": "same", "batch": 8},
)
operator(
    "few examples",
    "batches",
    SECOND,
    "D TRD; T not enough training data",
    n8={"sampling": "few 8"},
    n20={"sampling": "few 20"},
)
operator("one label after the other", "order", FIRST, "T training data order", sorted={"sampling": "sorted"})
operator("one kind of label only", "one class", SECOND, "D TUD; T unbalanced training data", kind={"sampling": "one kind"})
operator(
    "all labels the same",
    "one class",
    FIRST,
    "D TCL; T wrong labels",
    "classes|binary|numbers",
    one={"labels": "one class"},
)
operator("weights drawn again", "reborn", FIRST, "T training process", e10={"reborn": 10}, e40={"reborn": 40})
operator("weights drawn again often", "reborn", SECOND, "T training process", e5={"reborn": 5}, e25={"reborn": 25})
operator("batch of one", "batch size", FIRST, "D HBS; T batch size", b1={"batch": 1})
operator("batch far too large", "batch size", SECOND, "D HBS; T batch size", few=lambda s: {"batch": 1000, "steps": 8})
operator("too few steps", "length", FIRST, "D HNE; T number of epochs", n10={"steps": 10}, n25={"steps": 25})
operator(
    "clipping far too small",
    "clipping",
    FIRST,
    "D OCG",
    c4=lambda s: {} if s.optimizer != "sgd" else {"clip": 1e-4},
    c2=lambda s: {} if s.optimizer != "sgd" else {"clip": 1e-2},
)
operator(
    "clipping stops every step",
    "clipping",
    SECOND,
    "D OCG",
    c5=lambda s: {"clip": 1e-5} if s.optimizer == "sgd" else {"clip": 1e-11},
    c3=lambda s: {"clip": 1e-3} if s.optimizer == "sgd" else {"clip": 1e-10},
)
operator("float16 without a scaler", "precision", FIRST, "T GPU and types", half={"dtype": "float16"})
operator(
    "float16 autocast without a scaler",
    "precision",
    SECOND,
    "T GPU and types",
    half={"dtype": "float16"},
    large=lambda s: {"dtype": "float16", "target_scale": 3e4},
)
operator("graph of the last batch kept", "raises", FIRST, "T API misuse", graph={"state": "graph"})
operator("weights changed before backward", "raises", FIRST, "T API misuse", step={"raises": "in-place"})
operator("backward twice", "raises", SECOND, "T API misuse", twice={"raises": "twice"})
operator("labels start at one", "raises", SECOND, "T wrong labels", "classes", shifted={"labels": "shifted"})
