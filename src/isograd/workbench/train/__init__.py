"""Train a network by a recipe: one loop, watched, checkpointed, resumed to the last bit."""

from isograd.workbench.train.contrasting import contrast
from isograd.workbench.train.costing import STEPS, memory_here, memory_of, memory_size, step_seconds
from isograd.workbench.train.habits import loop_of
from isograd.workbench.train.loop import fit
from isograd.workbench.train.losses import balanced_weights, loss_of, stepwise
from isograd.workbench.train.machine import environment, resolved
from isograd.workbench.train.optimizers import make_optimizer
from isograd.workbench.train.progress import Direction, Fitted, Progress
from isograd.workbench.train.recipe import Recipe
from isograd.workbench.train.resume import load_best, unfinished
from isograd.workbench.train.weights import weights_hash

__all__ = [
    "STEPS",
    "Direction",
    "Fitted",
    "Progress",
    "Recipe",
    "balanced_weights",
    "contrast",
    "environment",
    "fit",
    "load_best",
    "loop_of",
    "loss_of",
    "make_optimizer",
    "memory_here",
    "memory_of",
    "memory_size",
    "resolved",
    "step_seconds",
    "stepwise",
    "unfinished",
    "weights_hash",
]
