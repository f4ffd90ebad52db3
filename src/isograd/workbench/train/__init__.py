"""Train a network by a recipe: one loop, watched, checkpointed, resumed to the last bit."""

from isograd.workbench.train.habits import loop_of
from isograd.workbench.train.loop import fit
from isograd.workbench.train.machine import environment, resolved
from isograd.workbench.train.optimizers import loss_of, make_optimizer
from isograd.workbench.train.progress import Direction, Fitted, Progress
from isograd.workbench.train.recipe import Recipe
from isograd.workbench.train.resume import load_best
from isograd.workbench.train.weights import weights_hash

__all__ = [
    "Direction",
    "Fitted",
    "Progress",
    "Recipe",
    "environment",
    "fit",
    "load_best",
    "loop_of",
    "loss_of",
    "make_optimizer",
    "resolved",
    "weights_hash",
]
