"""The headings under which diseases stand: the wider sense of a family."""

HEADINGS: dict[str, frozenset[str]] = {
    "flow": frozenset(
        [
            "vanishing",
            "exploding",
            "nonfinite",
            "dead_units",
            "rank_collapse",
            "attention",
            "recurrent",
            "spikes",
            "balance",
            "shattered",
            "residual",
            "hidden_scale",
            "hidden_softmax",
            "symmetry",
            "surprise",
        ]
    ),
    "steps": frozenset(
        ["learning_rate", "warm_up", "weight_decay", "momentum", "clipping", "precision", "batch_size", "first_aid"]
    ),
    "program": frozenset(
        [
            "gradients_not_cleared",
            "gradients_lost",
            "cut_graph",
            "flat_activation",
            "optimizer_misses_parameters",
            "frozen_layers",
            "wrong_mode",
            "optimizer_restarted",
            "ranks_apart",
            "weights_reset",
            "same_batch",
            "recurrent_axes",
            "inverted_mask",
            "leak",
            "carried_state",
            "loss_mismatch",
            "unreachable_targets",
            "bottomless",
            "broadcast_loss",
            "labels_misfit",
            "structure",
            "exception",
        ]
    ),
    "data": frozenset(["inputs", "targets", "labels", "initial_loss", "noisy_labels"]),
    "learning": frozenset(
        [
            "plateau",
            "collapse",
            "posterior_collapse",
            "underfitting",
            "overfitting",
            "skew",
            "forgetting",
            "interrupted",
            "adversarial",
        ]
    ),
}
"""The headings of the list of what isograd must know, with the diseases under each."""
