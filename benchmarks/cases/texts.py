"""The case of film reviews: networks beside TF-IDF with logistic regression, and what a plain recurrent one loses in time."""

from __future__ import annotations

import os
from pathlib import Path

from cases.running import Figure, Row, apart, foretold, run

READERS = {
    "gru": 'kind = "gru"\n\n[train]\nepochs = 4\nbatch_size = 32\n',
    "transformer": 'kind = "transformer"\n\n[train]\nepochs = 4\nbatch_size = 32\n',
    "rnn, last state": 'kind = "rnn"\ndirections = "forward"\npool = "last"\n\n[train]\nepochs = 2\n',
}
GOALS = {"gru": "0.87 in 20 minutes", "transformer": "0.86 in 20 minutes", "rnn, last state": "its gradient vanishes in time"}


def tf_idf(folder: str) -> float:
    """Accuracy of logistic regression on weighted counts of words and pairs of words, trained on the whole training part."""
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    train, test = (pd.read_parquet(Path(folder) / f"{part}.parquet") for part in ("train", "test"))
    counts = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = LogisticRegression(C=10.0, max_iter=300).fit(counts.fit_transform(train["text"]), train["label"])
    return float(model.score(counts.transform(test["text"]), test["label"]))


def films(work: Path) -> list[Row]:
    """25,000 reviews: the bag of the example, and readers of the first 400 words."""
    bag = run(work, "films")
    beside = [Figure("TF-IDF, logistic regression", apart(tf_idf, f"{os.environ['ISOGRAD_DATA']}/imdb"))]
    rows = [bag.row("bag", "accuracy", "0.90 in 2 minutes", beside)]
    for name, lines in READERS.items():

        def change(text: str, lines: str = lines) -> str:
            before, after = text.split("[model]\n")
            goals = "[goals]" + after.split("[goals]")[1]
            return f"{before.replace('length = 1000', 'length = 400')}[model]\n{lines}\n{goals}"

        ran = run(work, "films", name=f"films-{name.split(',')[0]}", change=change)
        rows.append(ran.row(f"{name}; foretold: {foretold(ran.folder)}", "accuracy", GOALS[name], beside))
    return rows
