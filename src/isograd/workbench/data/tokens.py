"""Texts as numbers: a vocabulary of words or of subwords, learned from training texts, then counts or a sequence of tokens."""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from isograd.records.schema import TextEncoding
from isograd.workbench.data.cutting import cut

if TYPE_CHECKING:
    from tokenizers import Tokenizer, models

Codes = NDArray[np.int64]

PAD, UNKNOWN = "[PAD]", "[UNK]"
SPECIAL = (PAD, UNKNOWN)
_AT_ONCE, _MOST_KNOWN = 4_096, 200_000
MOST_TOKENS = 512
"""Tokens of a text that are kept where nobody says how many: more cost time, and seldom teach."""


def fit_texts(
    texts: Sequence[str],
    *,
    tokens: Literal["words", "subwords"],
    form: Literal["bag", "ids"],
    vocabulary: int,
    length: int | None,
    keep: Literal["first", "last"] = "first",
) -> TextEncoding | None:
    """A vocabulary of at most ``vocabulary`` tokens, learned from training texts; nothing where they hold fewer than two.

    Texts are brought to NFKC and lower case and cut at blanks and punctuation. Words: the most frequent ones. Subwords: merged
    by byte-pair encoding. For the form "bag" the inverse document frequencies log((1 + n) / (1 + df)) + 1 are learned too.

    Source: Sennrich et al. 2016, arXiv:1508.07909 (byte-pair encoding).
    """
    found = _trained_words(texts, vocabulary) if tokens == "words" else _trained_subwords(texts, vocabulary)
    size = found.get_vocab_size()
    if size < len(SPECIAL) + 2:
        return None
    written = found.to_str()
    if form == "ids":
        return TextEncoding(written, size, form, length or usual_length(written, texts), keep=keep)
    documents = np.zeros(size, dtype=np.int64)
    for ids, starts in _encoded(written, texts):
        row = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        documents += np.bincount(np.unique(row * size + ids) % size, minlength=size)
    weights = [math.log((1 + len(texts)) / (1 + int(count))) + 1 for count in documents]
    weights[0] = 0.0
    return TextEncoding(written, size, form, length or 0, tuple(weights))


def _bare(model: models.Model) -> Tokenizer:
    from tokenizers import Tokenizer, normalizers, pre_tokenizers

    made = Tokenizer(model)
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def _trained_subwords(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    from tokenizers import models, trainers

    made = _bare(models.BPE(unk_token=UNKNOWN))
    kind = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=list(SPECIAL), show_progress=False)
    blocks = (list(texts[start : start + _AT_ONCE]) for start in range(0, len(texts), _AT_ONCE))
    made.train_from_iterator(blocks, kind)
    return made


def _trained_words(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """The most frequent words, of equally frequent ones the first in the alphabet, as the library's own trainer chooses."""
    from tokenizers import models

    bare = _bare(models.WordLevel(unk_token=UNKNOWN))
    counts: Counter[str] = Counter()
    for start in range(0, len(texts), _AT_ONCE):
        some = texts[start : start + _AT_ONCE]
        plain, others = _parted(some)
        words, tokens, _ = cut([some[row] for row in plain])
        counts.update(dict(zip(words, np.bincount(tokens, minlength=len(words)).tolist(), strict=True)))
        for row in others:
            text = bare.normalizer.normalize_str(some[row])
            counts.update(word for word, _ in bare.pre_tokenizer.pre_tokenize_str(text))
    most = max(0, vocabulary - len(SPECIAL))
    least = sorted(counts.values(), reverse=True)[most - 1] if 0 < most <= len(counts) else 0
    often = [word for word, count in counts.items() if count >= least]
    usual = sorted(often, key=lambda word: (-counts[word], word))[:most]
    known = {word: place for place, word in enumerate((*SPECIAL, *usual))}
    made = _bare(models.WordLevel(known, unk_token=UNKNOWN))
    made.add_special_tokens(list(SPECIAL))
    return made


def _parted(texts: Sequence[str]) -> tuple[Codes, Codes]:
    """The rows of the texts that can be cut at once, and of those that the library has to read."""
    plain = np.array(
        [text.isascii() and ("[" not in text or not any(word in text for word in SPECIAL)) for text in texts], dtype=np.bool_
    )
    return np.flatnonzero(plain), np.flatnonzero(~plain)


def usual_length(tokenizer: str, texts: Sequence[str]) -> int:
    """So many tokens as 95 % of the texts have at most, ``MOST_TOKENS`` at most."""
    counts = np.concatenate([np.minimum(np.diff(starts), MOST_TOKENS) for _, starts in _encoded(tokenizer, texts)])
    return max(1, math.ceil(float(np.quantile(counts, 0.95))))


@functools.lru_cache(maxsize=8)
def _tokenizer(written: str) -> tuple[Tokenizer, dict[str, list[int]]]:
    """The tokenizer, and the ids of words that it was asked for already."""
    from tokenizers import Tokenizer

    return Tokenizer.from_str(written), {}


def _encoded(written: str, texts: Sequence[str]) -> Iterator[tuple[Codes, Codes]]:
    """Some texts after the other: the ids of their tokens (tokens,), and where each text begins among them (texts + 1,).

    All at once would take much memory. Of plain texts only words that are new are given to the library: what it makes of a
    word does not depend on its neighbours.
    """
    tokenizer, known = _tokenizer(written)
    for start in range(0, len(texts), _AT_ONCE):
        some = texts[start : start + _AT_ONCE]
        plain, others = _parted(some)
        ids, counts = _of_plain(tokenizer, known, [some[row] for row in plain])
        if not len(others):
            yield ids, _starts(counts)
            continue
        rest = [one.ids for one in tokenizer.encode_batch_fast([some[row] for row in others])]
        lengths = np.zeros(len(some), dtype=np.int64)
        lengths[plain], lengths[others] = counts, [len(one) for one in rest]
        starts = _starts(lengths)
        together, is_plain = np.empty(starts[-1], dtype=np.int64), np.zeros(len(some), dtype=np.bool_)
        is_plain[plain] = True
        mine = np.repeat(is_plain, lengths)
        together[mine], together[~mine] = ids, list(itertools.chain.from_iterable(rest))
        yield together, starts


def _of_plain(tokenizer: Tokenizer, known: dict[str, list[int]], texts: Sequence[str]) -> tuple[Codes, Codes]:
    """Ids of the tokens of plain texts, one text after the other, and how many each text has."""
    words, tokens, starts = cut(texts)
    if len(known) > _MOST_KNOWN:
        known.clear()
    new = [word for word in words if word not in known]
    known.update(zip(new, (one.ids for one in tokenizer.encode_batch_fast(new)), strict=True))
    pieces = [known[word] for word in words]
    sizes = np.array([len(piece) for piece in pieces], dtype=np.int64)
    flat, begins = np.array(list(itertools.chain.from_iterable(pieces)), dtype=np.int64), _starts(sizes)
    each = sizes[tokens]
    if (sizes == 1).all():
        return flat[tokens], np.diff(starts)
    within = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
    return flat[np.repeat(begins[tokens], each) + within], np.diff(_starts(each)[starts])


def _starts(counts: Codes) -> Codes:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])


def width_of(encoding: TextEncoding) -> int:
    """How many features a text becomes."""
    return encoding.size if encoding.form == "bag" else encoding.length


def encode_texts(texts: Sequence[str], encoding: TextEncoding) -> NDArray[np.float32]:
    """Texts as features (texts, size) or (texts, length): weighted counts, or token ids, cut or padded with 0.

    A bag: log(1 + count) times the inverse document frequency of each token, scaled so that the root mean square over all
    tokens is 1, as an initialisation of weights expects of its inputs. A sequence: ``length`` tokens, the first or the last
    ones; ids are exact in float32 up to 16 million. Tokens that training never saw share one id.
    """
    found = np.zeros((len(texts), width_of(encoding)), dtype=np.float32)
    weights, first = np.array(encoding.weights), 0
    for ids, starts in _encoded(encoding.tokenizer, texts):
        rows = found[first : first + len(starts) - 1]
        first += len(rows)
        row = np.repeat(np.arange(len(rows)), np.diff(starts))
        if encoding.form == "ids":
            place = np.arange(len(ids)) - starts[row]
            if encoding.keep == "last":
                place -= np.maximum(np.diff(starts) - encoding.length, 0)[row]
            kept = (place >= 0) & (place < encoding.length)
            rows[row[kept], place[kept]] = ids[kept]
            continue
        keys, counts = np.unique(row * encoding.size + ids, return_counts=True)
        row, used = np.divmod(keys, encoding.size)
        values = np.log1p(counts) * weights[used]
        borders = np.searchsorted(row, np.arange(len(rows) + 1))
        squares = values**2
        norms = [math.sqrt(math.fsum(squares[a:b].tolist())) for a, b in itertools.pairwise(borders.tolist())]
        scales = np.array([math.sqrt(encoding.size) / norm if norm else 0.0 for norm in norms])
        rows[row, used] = values * scales[row]
    return found


def count_unknown(texts: Sequence[str], encoding: TextEncoding) -> tuple[int, int]:
    """How many tokens of some texts training never saw or did not keep, and how many there are."""
    ids = np.concatenate([ids for ids, _ in _encoded(encoding.tokenizer, texts)]) if len(texts) else np.zeros(0, np.int64)
    return int((ids == 1).sum()), len(ids)


def words_of(row: NDArray[np.float32], encoding: TextEncoding) -> list[str]:
    """The tokens that an encoded text holds: in their order, or, of a bag, by their weight."""
    tokenizer, _ = _tokenizer(encoding.tokenizer)
    ids = row[row > 0] if encoding.form == "ids" else np.argsort(-row, kind="stable")[: int((row > 0).sum())]
    return [tokenizer.id_to_token(number) or UNKNOWN for number in ids.astype(np.int64).tolist()]
