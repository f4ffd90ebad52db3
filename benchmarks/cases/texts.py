"""Cases of texts: review sentences, and film reviews for four networks, beside TF-IDF with logistic regression."""

from __future__ import annotations

import os
from pathlib import Path

from cases.running import Figure, Ran, Row, apart, foretold, mean_interval, run

READERS = {"gru": "0.87 in 20 minutes", "transformer": "0.86 in 20 minutes", "last": "its gradient vanishes in time"}
"""Projects beside the bag's, and what each must show."""


def tf_idf(folder: str) -> float:
    """Accuracy of logistic regression on weighted counts of words and pairs of words, trained on the whole training part."""
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    train, test = (pd.read_parquet(Path(folder) / f"{part}.parquet") for part in ("train", "test"))
    counts = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = LogisticRegression(C=10.0, max_iter=300).fit(counts.fit_transform(train["text"]), train["label"])
    return float(model.score(counts.transform(test["text"]), test["label"]))


def sentences(work: Path) -> list[Row]:
    """10,662 sentences, the same tenth held out for all of five seeds, each with its own validation part and first weights."""
    work.mkdir(parents=True, exist_ok=True)
    marked = work / "sentences.csv"
    beside = [
        Figure("TF-IDF, logistic regression", apart(hold_out, f"{os.environ['ISOGRAD_DATA']}/rt-polarity.csv", str(marked)))
    ]

    def one(seed: int) -> Ran:
        def change(text: str) -> str:
            given = f'source = "{marked.resolve().as_posix()}"\nsplit = "given"\ncolumn = "part"'
            lines = [given if line.startswith("source") else line for line in text.splitlines() if not line.startswith("test")]
            return f"seed = {seed}\n" + "\n".join(lines) + "\n"

        return run(work, "sentences", name=f"sentences-{seed}", change=change)

    runs = [one(seed) for seed in range(5)]
    over = mean_interval("mean over seeds", [ran.figures["accuracy"].value for ran in runs])
    return [ran.row(f"bag, seed {seed}", "accuracy", "0.76 over all", [over, *beside]) for seed, ran in enumerate(runs)]


def hold_out(source: str, marked: str) -> float:
    """Mark every tenth of the shuffled sentences as the test part; the accuracy of TF-IDF with logistic regression on it."""
    import numpy as np
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    table = pd.read_csv(source)
    text, label = "text", next(column for column in table if column != "text")
    place = np.random.default_rng(0).permutation(len(table))
    table["part"] = np.where(place % 10 == 0, "test", "train")
    table.to_csv(marked, index=False)
    train, test = (table[table["part"] == part] for part in ("train", "test"))
    counts = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = LogisticRegression(C=10.0, max_iter=300).fit(counts.fit_transform(train[text]), train[label])
    return float(model.score(counts.transform(test[text]), test[label]))


def films(work: Path) -> list[Row]:
    """25,000 reviews: a bag of words, and three networks that read some hundred words of each in their order."""
    bag = run(work, "films")
    beside = [Figure("TF-IDF, logistic regression", apart(tf_idf, f"{os.environ['ISOGRAD_DATA']}/imdb"))]
    rows = [bag.row("bag", "accuracy", "0.90 in 2 minutes", beside)]
    for name, goal in READERS.items():
        ran = run(work, f"films/{name}")
        rows.append(ran.row(f"{name}; foretold: {foretold(ran.folder)}", "accuracy", goal, beside))
    return rows
