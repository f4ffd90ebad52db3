"""Texts cut all at once are cut as the tokenizers library cuts them one by one, and learned from as its trainer learns."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from tokenizers import Tokenizer, models, trainers

from isograd.workbench.data import cutting, tokens
from isograd.workbench.data.cutting import cut

LETTERS = [*map(chr, range(128)), *" " * 40, *"abcdef" * 20, "é", "ﬁ", "Σ", "東"]


def odd_texts(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    texts = ["".join(rng.choice(LETTERS) for _ in range(rng.randrange(40))) for _ in range(count)]
    return [*texts, "", "[PAD] a [UNK]b", "[unk]", "x" * 500, "x" * 499 + "y", "a" * 16, "a" * 17, "a" * 8, "a" * 9, *texts[:5]]


def by_library(texts: list[str], kind: str, vocabulary: int) -> Tokenizer:
    model = models.WordLevel(unk_token=tokens.UNKNOWN) if kind == "words" else models.BPE(unk_token=tokens.UNKNOWN)
    made = tokens._bare(model)
    trainer = (trainers.WordLevelTrainer if kind == "words" else trainers.BpeTrainer)(
        vocab_size=vocabulary, special_tokens=list(tokens.SPECIAL), show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    return made


@pytest.mark.parametrize("kind", ["words", "subwords"])
@pytest.mark.parametrize("vocabulary", [5, 60, 3000])
def test_the_vocabulary_and_every_token_are_those_of_the_library(kind: str, vocabulary: int) -> None:
    for seed in range(4):
        texts = odd_texts(seed, 300)
        theirs = by_library(texts, kind, vocabulary)
        made = tokens.fit_texts(texts, tokens=kind, form="ids", vocabulary=vocabulary, length=9)  # type: ignore[arg-type]
        assert made is not None and made.tokenizer == theirs.to_str()
        expected = [one.ids for one in theirs.encode_batch_fast(texts)]
        found = []
        for ids, starts in tokens._encoded(made.tokenizer, texts):
            found += [ids[a:b].tolist() for a, b in itertools.pairwise(starts)]
        assert found == expected
        rows = tokens.encode_texts(texts, made)
        assert rows.tolist() == [[*ids[:9], *[0] * (9 - len(ids))] for ids in expected]


def test_blocks_of_few_letters_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a long text " * 20, *(text for text in odd_texts(9, 200) if text.isascii()), "and another " * 20]
    whole = cut(texts)
    monkeypatch.setattr(cutting, "_LETTERS", 50)
    pieces = cut(texts)
    assert whole[0] == pieces[0] and np.array_equal(whole[1], pieces[1]) and np.array_equal(whole[2], pieces[2])


def test_no_texts_have_no_words() -> None:
    words, which, starts = cut([])
    assert words == [] and len(which) == 0 and starts.tolist() == [0]
    words, which, starts = cut(["", " \n"])
    assert words == [] and len(which) == 0 and starts.tolist() == [0, 0, 0]
