"""A recorder as the loops of these tests use it: a context manager that is told models and optimizers."""

from isograd.frameworks.torch.recorder import TorchRecorder


class Watch:
    """Call it with a model or several and the optimizers, and enter it; ``trace`` is what was seen."""

    def __init__(self, budget=None):
        self.budget, self.recorder = budget, None

    def __call__(self, models, *optimizers):
        models = models if isinstance(models, tuple) else (models,)
        self.recorder = TorchRecorder(models, optimizers or None, budget=self.budget)
        return self

    def __enter__(self):
        self.recorder.attach()
        return self

    def __exit__(self, *_):
        self.recorder.detach()

    @property
    def trace(self):
        assert self.recorder.stopped_by is None
        return self.recorder.trace()
