"""A certain fact about the running program, as a door saw it: what, where, at which line."""

from __future__ import annotations

from dataclasses import dataclass

from isograd.records.anatomy import Scalar, Settings

FACTS = {
    "unseen": "layers were not measured in this step; reason: why, in words",
    "carried": "gradients held something before the step's first backward pass reached them; parameters: how many; share: of "
    "all; age: steps since any gradient was last empty or zero (0: cleared each step); passes: how many found them so, where a "
    "closure made several in the step",
    "cleared_early": "gradients arrived in the backward pass and were empty or zero when the optimizer stepped; "
    "ahead: the pass was of the step before, for the optimizer steps between the forward and the backward pass",
    "cleared_between": "each backward pass of a step found all gradients empty that the one before it filled; passes: how many",
    "no_backward": "the optimizer stepped although no backward pass reached any watched parameter since its last step",
    "optimizer_idle": "an optimizer of the watch never made a step; kind; parameters: numbers that it holds; steps of others",
    "no_step": "backward passes ran and no optimizer of the model stepped; passes: how many; called: whether the model was, in "
    "training mode",
    "ascends": "a step made by hand went along the gradient, not against it; cosine: of update and gradient",
    "cut_off": "a trainable parameter that the optimizer holds gets no gradient; parameter: its name; "
    "used: whether its module ran; count: how many of that layer",
    "detached": "a signal that needed a gradient left the graph; operation: detach, data, numpy, item, tolist, no_grad or "
    "rewrap; after: the layer that ran last",
    "not_in_optimizer": "a trainable parameter gets gradients and no optimizer holds it; parameter: name; count: in the "
    "layer; thawed: whether one of these was frozen before",
    "rate_zero": "a layer got gradients and stands in a group whose learning rate is 0, beside one whose rate is not; "
    "parameter: name; count: in the layer",
    "stale_parameters": "an optimizer holds parameters of no watched module; count: how many; shapes: of the first few",
    "hidden_module": "a module with parameters that no optimizer holds runs inside a watched model that does not register it; "
    "kind: its class; anew: whether it is made in each pass and gone after it; holder: class and attribute that keep it",
    "optimizer_replaced": "the parameters are stepped by another optimizer object than before; count: objects so far",
    "evaluation_mode": "training passes ran while layers that behave differently were in evaluation mode; kinds: which; "
    "fresh: whether a batch norm among them has never seen a batch; alone: the model around it is in training mode",
    "statistics_lag": "the running statistics of a batch norm follow its batches slowly, or at once; momentum; rows: that "
    "they rest on, where at once; else ratio: median over the "
    "channels of a batch's variance over the running one; shift: of its mean's distance in running deviations",
    "dropout_stays": "dropout was called so that evaluation mode does not end it, and nothing around it speaks of the mode; p; "
    "kind: the function, or the layer that no module holds; given: whether what it drops is what the model was given",
    "derivative": "a derivative of a derivative was asked for outside of the models; flat: whether all were exactly zero",
    "training_mode": "passes without gradients ran while such layers were in training mode; kinds: which; "
    "times: how often in the whole run, where that was counted",
    "weights_changed": "a weight changed between two steps; parameter; cosine: of old and new; "
    "restored: whether it is again what it was at first; times: since the last look",
    "weights_moved": "a weight changed between two steps by another hand, and little; parameter; rms: of the change",
    "loaded_itself": "a state was loaded that holds the weights of the model themselves, not a copy; count: how many",
    "state_carried": "a recurrent layer began from a state that an earlier batch left; graph: whether its graph came too",
    "mask_inverted": "the mask of keys that an attention was given hides all tokens but the padding",
    "padded_ends": "half or more of the steps of most sequences are padding that a recurrent layer reads last; steps: how "
    "many in the median; of: all",
    "mask_turned": "the mask of a sequence's attention to itself hides all earlier places and none of the later ones",
    "targets_ahead": "the targets are the tokens one place later, and no attention of the sequence to itself hides them; "
    "attentions: how many; tokens: how many were compared",
    "targets_column": "the one target of each example is a column of what the model is given; column; steps: of sequences, the "
    "last of which holds it, 0 of a table; rows: of the batch",
    "targets_given": "the targets are the tokens in their own places, in a network with causal attention, or with no attention "
    "and one recurrent layer in one direction; as for targets_ahead",
    "axes_swapped": "a recurrent layer took the batch axis for time; batch: axis length by the targets; "
    "time: what it took as batch",
    "axes_reshaped": "a tensor was reshaped to its own shape with axes in another order, or final states (layers, batch, "
    "hidden) to (batch, all the rest), which mixes its entries; left, right: shapes as text; operation",
    "answers_drawn": "in evaluation mode the same rows, asked again with other random numbers, get other answers: these are "
    "drawn, or the network remembers",
    "rows_mixed": "in evaluation mode the answer to a row of the batch changes with the rows beside it; operation: the first "
    "that brings them together; ordered: whether their order counts; all: whether no output keeps them apart; square: whether "
    "it is given a number for each pair of rows; given: whether it is given an axis of the rows; rows: of the batch; other: "
    "length of a second axis that inputs and targets share, or 0",
    "targets_crossed": "a row of outputs was laid out of two axes that the row of targets has the other way round; left and "
    "right: the two axes of outputs and of targets as text",
    "loader": "the loader that the batch came from; number: of the loaders of this program; batches, batch_size, dataset: "
    "-1 where unknown; order: sequential, random or other; weights: how many a weighted sampler has, -1 where there is none; "
    "drop_last; epoch: passes begun; position: batches given in it",
    "loader_restarted": "a loader of several batches was begun anew for every step; as for loader",
    "repeats": "batches of rows are taken by hand from a table of dataset examples, in passes of so many steps, or of as many "
    "as or says: none twice in one, some again; order: sequential (the same batches in each) or random",
    "overlap": "each batch of rows of a table is the one before it moved by a few, and begins again long before its end; "
    "moved: by how many rows; rows: of a batch; dataset: of the table; used: rows of it that came, at most about",
    "same_batch": "the batch equals the last looked-at one; dataset: examples at hand, if any; various: its passes differ",
    "softmax_axis": "a softmax that heads the loss runs over the batch axis, or over an axis of one; axis; size",
    "broadcast": "two tensors of different shapes met in the loss and were spread; left, right: shapes as text; picked: "
    "whether the outputs are a square, of all rows the columns that an index names",
    "loss_broke": "the first loss that is not finite, seen as its backward pass began; of: batch (name, count, rows, "
    "column: of the variable that holds such numbers), table (the same of a longer one, or nothing, where no variable may "
    "be the batch), weights (parameter) or pass",
    "clipped": "gradients were clipped by norm or value; bound; norm: before clipping (-1: unknown); by: norm or value",
    "loss_scaled": "a gradient scaler scaled a loss; scale; plain: backward passes of the very loss that it was handed, not of "
    "what it gave; scalers: different ones that were met so far",
    "scale_skipped": "the gradient scaler skipped the optimizer's step; scale",
    "loss_outside": "the loss is not computed from a watched model's output, or reaches no parameter of one optimizer; "
    "parameters: how many; layers: which",
    "loss_dropped": "a loss was computed from the layer's output, with a graph, and no backward pass of the step began with "
    "it; function",
    "not_averaged": "a model in a data-parallel wrapper learned in passes of which the wrapper averages none over the ranks; "
    "reason: past (the module inside was called itself) or no_sync; passes: how many; collectives: in the step; since: "
    "and since the first look (-1: unknown)",
    "unknown_to_wrapper": "a trainable parameter of a wrapped model is not one of those that the wrapper was made with; "
    "parameter: its name; count: in the layer",
    "ranks_compared": "weights and gradients of a step beside those of another rank; step; rank: the other; layers: compared; "
    "apart: of other weights; weights: the largest relative distance; nearest, farthest: of gradients of these layers (-1: "
    "unknown); batch: same, other or unknown; fresh: whether it is not that of the last such step; collectives: since the "
    "start of the watch (-1: unknown); wrapped: whether a wrapper averages the gradients of these layers",
    "first_step": "the loss along the first of two steps that were tried; promised: the first gradient times the step, "
    "met: the second gradient times the first step",
    "first_aid": "first aid acted on this step; action and reason: as records.aid says; value, bound: what was met, where how "
    "much was expected; what: the treatment",
    "raised": "an exception ended the watch; type; message; own: whether the program raised it itself; module: class of "
    "the one that ran; wants: what it was made for; carried, holder: states with a graph; inplace: line of a change; weight: "
    "of that shape; left: where the graph was left; nan: what holds NaN",
}
"""The closed vocabulary of ``Fact.kind`` that every door speaks, with what ``settings`` hold."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: ``kind`` is a key of ``FACTS``, ``where`` a node or module path ("": the whole program), ``source`` its line.

    A fact says what is, never that it is wrong: whether it matters is for diagnosis to say. It stands in every step in which
    it was seen.

    >>> Fact("detached", "encoder", "net.py:12", (("operation", "detach"),)).get("operation", "")
    'detach'
    """

    kind: str
    where: str = ""
    source: str | None = None
    settings: Settings = ()

    def get(self, name: str, default: Scalar) -> Scalar:
        """The particular called ``name``, or ``default``."""
        return dict(self.settings).get(name, default)
