"""Say how good a model is: answers, metrics with intervals, and the examples it gets most wrong."""

from isograd.workbench.evaluate.evaluation import evaluate, metrics_of, quick
from isograd.workbench.evaluate.outputs import predict
from isograd.workbench.evaluate.stepwise import by_step
from isograd.workbench.evaluate.threshold import threshold_for

__all__ = ["by_step", "evaluate", "metrics_of", "predict", "quick", "threshold_for"]
