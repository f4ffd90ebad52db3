"""Texts as numbers: a vocabulary of words or of subwords, learned from training texts, then counts or a sequence of tokens."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from isograd.records.schema import TextEncoding

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNKNOWN = "[PAD]", "[UNK]"
SPECIAL = (PAD, UNKNOWN)
_AT_ONCE = 1_024
MOST_TOKENS = 512
"""Tokens of a text that are kept where nobody says how many: more cost time, and seldom teach."""


def fit_texts(
    texts: Sequence[str],
    *,
    tokens: Literal["words", "subwords"],
    form: Literal["bag", "ids"],
    vocabulary: int,
    length: int | None,
) -> TextEncoding | None:
    """A vocabulary of at most ``vocabulary`` tokens, learned from training texts; nothing where they hold fewer than two.

    Texts are brought to NFKC and lower case and cut at blanks and punctuation. Words: the most frequent ones. Subwords: merged
    by byte-pair encoding. For the form "bag" the inverse document frequencies log((1 + n) / (1 + df)) + 1 are learned too.

    Source: Sennrich et al. 2016, arXiv:1508.07909 (byte-pair encoding).
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    word_level = tokens == "words"
    made = Tokenizer(models.WordLevel(unk_token=UNKNOWN) if word_level else models.BPE(unk_token=UNKNOWN))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    kind = trainers.WordLevelTrainer if word_level else trainers.BpeTrainer
    made.train_from_iterator(texts, kind(vocab_size=vocabulary, special_tokens=list(SPECIAL), show_progress=False))
    size = made.get_vocab_size()
    if size < len(SPECIAL) + 2:
        return None
    written = made.to_str()
    if form == "ids":
        return TextEncoding(written, size, form, length or usual_length(written, texts))
    documents = np.zeros(size, dtype=np.int64)
    for ids in _encoded(written, texts):
        documents[np.unique(np.array(ids, dtype=np.int64))] += 1
    weights = [math.log((1 + len(texts)) / (1 + int(count))) + 1 for count in documents]
    weights[0] = 0.0
    return TextEncoding(written, size, form, length or 0, tuple(weights))


def usual_length(tokenizer: str, texts: Sequence[str]) -> int:
    """So many tokens as 95 % of the texts have at most, ``MOST_TOKENS`` at most."""
    counts = [min(len(ids), MOST_TOKENS) for ids in _encoded(tokenizer, texts)]
    return max(1, math.ceil(float(np.quantile(counts, 0.95))))


@functools.lru_cache(maxsize=8)
def _tokenizer(written: str) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(written)


def _encoded(written: str, texts: Sequence[str]) -> Iterator[list[int]]:
    """The token ids of each text; many at once keep the cores busy, all at once would take much memory."""
    tokenizer = _tokenizer(written)
    for start in range(0, len(texts), _AT_ONCE):
        for one in tokenizer.encode_batch_fast(list(texts[start : start + _AT_ONCE])):
            yield one.ids


def width_of(encoding: TextEncoding) -> int:
    """How many features a text becomes."""
    return encoding.size if encoding.form == "bag" else encoding.length


def encode_texts(texts: Sequence[str], encoding: TextEncoding) -> NDArray[np.float32]:
    """Texts as features (texts, size) or (texts, length): weighted counts, or token ids, cut or padded with 0.

    A bag: log(1 + count) times the inverse document frequency of each token, scaled so that the root mean square over all
    tokens is 1, as an initialisation of weights expects of its inputs. A sequence: the first
    ``length`` tokens; ids are exact in float32 up to 16 million. Tokens that training never saw share one id.
    """
    found = np.zeros((len(texts), width_of(encoding)), dtype=np.float32)
    weights = np.array(encoding.weights)
    for row, ids in zip(found, _encoded(encoding.tokenizer, texts), strict=True):
        if encoding.form == "ids":
            row[: min(len(ids), encoding.length)] = ids[: encoding.length]
            continue
        used, counts = np.unique(np.array(ids, dtype=np.int64), return_counts=True)
        values = np.log1p(counts) * weights[used]
        norm = math.sqrt(math.fsum((values**2).tolist()))
        row[used] = values * (math.sqrt(encoding.size) / norm) if norm else 0.0
    return found


def share_unknown(text: str, encoding: TextEncoding) -> float:
    """The share of a text's tokens that training never saw; 0 for a text without any."""
    (ids,) = _encoded(encoding.tokenizer, [text])
    return ids.count(1) / len(ids) if ids else 0.0


def words_of(row: NDArray[np.float32], encoding: TextEncoding) -> list[str]:
    """The tokens that an encoded text holds: in their order, or, of a bag, by their weight."""
    tokenizer = _tokenizer(encoding.tokenizer)
    ids = row[row > 0] if encoding.form == "ids" else np.argsort(-row, kind="stable")[: int((row > 0).sum())]
    return [tokenizer.id_to_token(number) or UNKNOWN for number in ids.astype(np.int64).tolist()]
