"""Bring data in: find it, read it, type it, split it and encode it, with one clear message for anything that is wrong."""

from isograd.workbench.data.ahead import ahead
from isograd.workbench.data.augment.plan import SUITS, AugmentPlan, misfit
from isograd.workbench.data.cleaning.steps import STEPS, parse_step
from isograd.workbench.data.features import features_of
from isograd.workbench.data.inspection import inspect
from isograd.workbench.data.prediction import picture, pieces_for_prediction, read_for_prediction
from isograd.workbench.data.preparation import prepare
from isograd.workbench.data.reading import Source
from isograd.workbench.data.rows import EncodingPlan, Prepared, Rows, SplitPlan, batches, batches_per_epoch
from isograd.workbench.data.sampling import Sampling, sampling_of
from isograd.workbench.data.stored import MEMORY

__all__ = [
    "MEMORY",
    "STEPS",
    "SUITS",
    "AugmentPlan",
    "EncodingPlan",
    "Prepared",
    "Rows",
    "Sampling",
    "Source",
    "SplitPlan",
    "ahead",
    "batches",
    "batches_per_epoch",
    "features_of",
    "inspect",
    "misfit",
    "parse_step",
    "picture",
    "pieces_for_prediction",
    "prepare",
    "read_for_prediction",
    "sampling_of",
]
