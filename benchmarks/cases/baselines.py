"""What a linear model makes of the same inputs: the baseline of pictures and sounds."""

from __future__ import annotations

from pathlib import Path

from cases.running import Figure, apart

COMPONENTS = 150


def linear(folder: Path) -> Figure:
    """Accuracy of logistic regression on the principal components of a project's inputs, training part to test part."""
    return Figure(f"logistic regression on {COMPONENTS} principal components", apart(_linear, str(folder)))


def _linear(folder: str) -> float:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from isograd.project import reading, river

    prepared = river.begin(reading.load(Path(folder))).prepared
    (x, y), (tested, truths) = (
        (part.inputs.flatten(1).numpy(), part.targets.numpy()) for part in (prepared.train, prepared.test)
    )
    parts = PCA(COMPONENTS, svd_solver="randomized", random_state=0)
    model = make_pipeline(parts, StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    return float(model.fit(x, y).score(tested, truths))
