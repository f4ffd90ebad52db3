"""The same rows give the same bits: in training, after the encoding was written and read again, and one row at a time."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from isograd.errors import DataError
from isograd.records import codec
from isograd.records.schema import Encoding, TextEncoding
from isograd.workbench.data import EncodingPlan, Prepared, SplitPlan, prepare, read_for_prediction
from isograd.workbench.data.columns import Cells, Words, kind_of
from isograd.workbench.data.features import centre_and_scale, encode, fit_column
from isograd.workbench.data.recordings import read_recordings
from isograd.workbench.data.spectra import encode_sounds, log_mel
from isograd.workbench.data.tokens import count_unknown, encode_texts, fit_texts, words_of

NUMBERS = st.one_of(st.just(""), st.integers(-(10**9), 10**9).map(str), st.floats(-1e20, 1e20).map(repr))
DATES = st.one_of(st.just(""), st.dates().map(str), st.datetimes().map(lambda t: t.isoformat(timespec="seconds")))
TEXTS = st.lists(st.sampled_from("the film is good bad café ﬁne 2nd ! naïve Größe 東京".split()), min_size=3).map(" ".join)  # noqa: SIM905
CELLS = {
    "number": NUMBERS,
    "boolean": st.sampled_from(["yes", "no", ""]),
    "category": st.sampled_from(["a", "b", "B", "missing", "?", "é"]),
    "date": DATES,
    "text": TEXTS,
}
PLANS = st.builds(
    EncodingPlan,
    scaling=st.sampled_from(["standard", "minmax", "robust"]),
    categories=st.sampled_from(["one_hot", "index"]),
    tokens=st.sampled_from(["words", "subwords"]),
    text=st.sampled_from(["bag", "ids"]),
    vocabulary=st.sampled_from([6, 40]),
    length=st.sampled_from([1, 7]),
)


def words(cells: list[str]) -> Words:
    values = list(dict.fromkeys(cells))
    return Words(np.array([values.index(cell) for cell in cells], dtype=np.int64), tuple(values))


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, str], list[list[str]]]:
    kinds = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=4))
    rows = draw(st.integers(2, 12))
    columns = [draw(st.lists(CELLS[kind], min_size=rows, max_size=rows)) for kind in kinds]
    return {f"c{i}": kind for i, kind in enumerate(kinds)}, columns


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(tables(), PLANS)
def test_training_reloading_and_one_row_at_a_time_give_the_same_bits(
    table: tuple[dict[str, str], list[list[str]]], plan: EncodingPlan
) -> None:
    kinds, cells = table
    columns: dict[str, Cells] = {name: words(column) for name, column in zip(kinds, cells, strict=True)}
    found = [fit_column(name, columns[name], kind, plan) for name, kind in kinds.items()]  # type: ignore[arg-type]
    encoding = Encoding("table", "y", columns=tuple(one for one in found if one is not None))
    rows = len(cells[0])
    together = encode(columns, encoding.columns, rows)
    assert np.isfinite(together).all()
    again = codec.loads(Encoding, codec.dumps(encoding))
    assert again == encoding
    assert encode(columns, again.columns, rows).tobytes() == together.tobytes()
    for row in range(rows):
        alone: dict[str, Cells] = {name: words([column[row]]) for name, column in zip(kinds, cells, strict=True)}
        assert encode(alone, again.columns, 1).tobytes() == together[row : row + 1].tobytes()


def test_scalings_are_what_their_names_say() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1000.0, 9.0])
    low, span = centre_and_scale(values, "minmax")
    assert ((values - low) / span).min() == 0 and ((values - low) / span).max() == 1
    middle, quartiles = centre_and_scale(values, "robust")
    assert middle == 5 and quartiles == 4  # the thousand moves neither
    assert centre_and_scale(np.array([0.0, 0.0, 0.0, 0.0, 9.0]), "robust")[1] > 0


def test_a_category_as_an_index_keeps_nought_for_what_was_never_seen() -> None:
    found = fit_column("c", words(["a", "b", "a", ""]), "category", EncodingPlan(categories="index"))
    assert found is not None and found.values == ("a", "b", "missing")
    assert encode({"c": words(["b", "new", "", "a"])}, [found], 4).tolist() == [[2], [0], [3], [1]]


def test_a_date_is_a_day_and_places_on_circles() -> None:
    days = words(["2026-01-01", "2026-03-02", "2026-07-02", "2026-12-31", "2027-01-01"])
    assert kind_of(days).kind == "date"
    found = fit_column("c", days, "date")
    assert found is not None and found.circles == ("year", "week")
    rows = encode({"c": days}, [found], 5)
    assert rows.shape == (5, 5) and np.abs(rows[0, 1:3] - rows[4, 1:3]).max() < 0.02  # a year later is the same season
    assert np.abs(rows[0, 1:3] + rows[2, 1:3]).max() < 0.06  # and half a year later the opposite one
    hours = words(["2026-01-01T06:00", "2026-01-01T18:00+00:00", "2026-01-01 06:00:00Z"])
    clock = fit_column("c", hours, "date")
    assert clock is not None and clock.circles == ("day",)
    assert encode({"c": hours}, [clock], 3)[:, 1].round(6).tolist() == [1, -1, 1]


def encode_text(text: str, encoding: TextEncoding) -> NDArray[np.float32]:
    (row,) = encode_texts([text], encoding)
    return row


def test_subwords_and_words_are_learned_alike_every_time_and_meet_new_words() -> None:
    texts = [f"the film number {i % 7} was {('good', 'bad', 'unwatchable')[i % 3]}, said the reviewers" for i in range(60)]
    for tokens in ("words", "subwords"):
        made = [fit_texts(texts, tokens=tokens, form="bag", vocabulary=60, length=0) for _ in range(3)]  # type: ignore[arg-type]
        assert made[0] is not None and made[0] == made[1] == made[2] and made[0].size <= 60
        assert np.mean(encode_text(texts[0], made[0]) ** 2) == pytest.approx(1.0, abs=1e-6)
        assert encode_text("", made[0]).tolist() == [0.0] * made[0].size
    by_words = fit_texts(texts, tokens="words", form="ids", vocabulary=60, length=4)
    assert by_words is not None
    assert encode_text("the film film film film film zzz", by_words)[0] == encode_text("the", by_words)[0]  # the first four
    ids = encode_text("The FILM zzz", by_words)
    assert ids[2] == 1 and ids[3] == 0 and (ids[:2] > 1).all()
    assert count_unknown(["The film zzz", "the"], by_words) == (1, 4) and count_unknown([], by_words) == (0, 0)


def test_a_vocabulary_of_one_word_teaches_nothing() -> None:
    assert fit_texts(["yes", "yes yes"], tokens="words", form="bag", vocabulary=50, length=0) is None
    assert fit_texts(["", ""], tokens="subwords", form="ids", vocabulary=50, length=3) is None


def of_table(folder: Path, header: str, rows: list[str], **how: object) -> Prepared:
    (folder / "t.csv").write_text("\n".join([header, *rows]) + "\n", "utf-8")
    plan = SplitPlan("stratified", 0.2, 0.2)
    return prepare("t.csv", base=folder, task="classification", target="y", split=plan, seed=0, **how)  # type: ignore[arg-type]


def test_a_table_of_texts_and_dates_is_learned_from_and_predicted_with(tmp_path: Path) -> None:
    rows = [f"a film that is {('good', 'bad')[i % 2]} number {i},2026-01-{1 + i % 28:02},{'pn'[i % 2]}" for i in range(60)]
    found = of_table(tmp_path, "text,day,y", rows, encode_as=EncodingPlan(vocabulary=30))
    assert [column.kind for column in found.summary.schema.columns] == ["text", "date"]
    inputs, names, _ = read_for_prediction(tmp_path / "t.csv", found.encoding)
    where = {int(name.split()[-1]): row for row, name in enumerate(names)}
    for name, row in zip(found.test.names, found.test.inputs.numpy(), strict=True):
        assert inputs[where[int(name.split()[-1])]].tobytes() == row.tobytes()
    written = codec.dumps(found.encoding)
    assert json.loads(written) and "bad" in written


def test_only_training_texts_make_the_vocabulary(tmp_path: Path) -> None:
    rows = [f"one two three four word{i},{'pn'[i % 2]}" for i in range(60)]
    found = of_table(tmp_path, "text,y", rows)
    text = found.encoding.columns[0].text
    assert text is not None
    known = json.loads(text.tokenizer)["model"]["vocab"]
    trained = {f"word{int(name.split()[-1]) - 2}" for name in found.train.names}
    assert {word for word in known if word.startswith("word")} == trained


def test_a_wrong_date_is_named_and_names_are_left_out(tmp_path: Path) -> None:
    rows = [f"2026-01-{1 + i % 28:02},Person Number{i},{'pn'[i % 2]},{i % 5}" for i in range(60)]
    found = of_table(tmp_path, "day,name,y,x", rows)
    assert [column.name for column in found.encoding.columns] == ["day", "x"]
    assert "column 'name' reads like text or names" in found.summary.remarks[0]
    rows[7] = rows[7].replace("2026-01", "2026-13", 1)
    with pytest.raises(DataError, match="should hold dates such as 2026-03-31: 1 row does not"):
        of_table(tmp_path, "day,name,y,x", rows)


def chimes(folder: Path, count: int = 12) -> Path:
    random = np.random.default_rng(0)
    for label, hertz in (("high", 1500), ("low", 400)):
        for take in range(count):
            time = np.arange(int(8000 * random.uniform(0.1, 0.3))) / 8000
            speaker = "ab"[take % 2] + "xyz"[take % 3]
            soundfile.write(folder / f"{label}_{speaker}_{take}.wav", 0.3 * np.sin(2 * np.pi * hertz * time), 8000)
    return folder


def of_sounds(folder: Path, **how: object) -> Prepared:
    told = {"split": SplitPlan("stratified", 0.2, 0.2), "label_pattern": "{label}_{speaker}_{take}", **how}
    return prepare(str(folder), base=Path(), task="sound-classification", target=None, seed=0, **told)  # type: ignore[arg-type]


@pytest.mark.parametrize("plan", [EncodingPlan(span=0.0), EncodingPlan()], ids=["as recorded", "span"])
def test_sounds_are_the_same_bits_in_training_after_reloading_and_alone(plan: EncodingPlan, tmp_path: Path) -> None:
    found = of_sounds(chimes(tmp_path), encode_as=plan)
    again = codec.loads(Encoding, codec.dumps(found.encoding))
    for part in (found.train, found.test):
        for name, row in zip(part.names, part.inputs.numpy(), strict=True):
            alone, _, _ = read_for_prediction(tmp_path / name, again)
            assert alone[0].tobytes() == row.tobytes()
    assert abs(float(found.train.inputs.mean())) < 2 and found.train.inputs.shape[1:3] == (1, 64)


def test_a_tone_is_loud_in_its_band_and_in_no_other(tmp_path: Path) -> None:
    found = of_sounds(chimes(tmp_path)).encoding.sound
    assert found is not None
    bands = {}
    for hertz in (400, 1500):
        spectrum = log_mel(np.sin(2 * np.pi * hertz * np.arange(4000) / 8000).astype(np.float32), found).mean(axis=1)
        bands[hertz] = int(spectrum.argmax())
        mel = 2595 * np.log10(1 + hertz / 700) / (2595 * np.log10(1 + 4000 / 700)) * (found.mels + 1) - 1
        assert abs(bands[hertz] - mel) <= 1
        assert spectrum.max() - np.median(spectrum) > 5
    assert bands[400] < bands[1500]


def test_a_group_split_keeps_a_speaker_on_one_side(tmp_path: Path) -> None:
    found = of_sounds(chimes(tmp_path), split=SplitPlan("group", 0.2, 0.3, "speaker"))
    speakers = [{name.split("_")[1] for name in part.names} for part in (found.train, found.validation, found.test)]
    assert not speakers[0] & speakers[1] and not speakers[0] & speakers[2] and not speakers[1] & speakers[2]
    with pytest.raises(DataError, match="no word of the names is called 'mic'"):
        of_sounds(tmp_path, split=SplitPlan("group", 0.2, 0.3, "mic"))


def test_a_longer_recording_is_cut_and_a_shorter_one_filled_up(tmp_path: Path) -> None:
    encoding = of_sounds(chimes(tmp_path)).encoding
    assert encoding.sound is not None
    signals = read_recordings(tmp_path, pattern="{label}_{speaker}_{take}").signals
    long = np.tile(signals[0], 20)
    cut = encode_sounds([long, long[: encoding.sound.samples], np.zeros(1, np.float32)], encoding)
    assert cut[0].tobytes() == cut[1].tobytes() and np.isfinite(cut).all()


def test_with_a_span_it_does_not_matter_how_loud_a_recording_was_made(tmp_path: Path) -> None:
    encoding = of_sounds(chimes(tmp_path), encode_as=EncodingPlan(mels=32, span=50.0)).encoding
    assert encoding.sound is not None and encoding.sound.span == 50.0
    signal = read_recordings(tmp_path, pattern="{label}_{speaker}_{take}").signals[0]
    loud, soft = encode_sounds([signal, np.float32(0.05) * signal], encoding)
    assert loud == pytest.approx(soft, abs=1e-3)
    nothing, hum = encode_sounds([np.zeros(4000, np.float32), np.full(4000, 1e-8, np.float32)], encoding)
    assert np.isfinite(nothing).all() and nothing == pytest.approx(hum, abs=1e-3)  # what is faint throughout stays silence
    floor = (-50 / 10 * np.log(10) - np.array(encoding.sound.mean)) / np.array(encoding.sound.std)
    assert nothing.max(axis=(0, 2)) == pytest.approx(floor, abs=1e-5)
    assert abs(float(loud.max()) - float(nothing.max())) > 1


def test_recordings_are_no_task_of_pictures_or_tables(tmp_path: Path) -> None:
    source, told = str(chimes(tmp_path)), {"label_pattern": "{label}_{s}_{t}", "split": SplitPlan(), "seed": 0}
    with pytest.raises(DataError, match='task = "sound-classification"'):
        prepare(source, base=Path(), task="classification", target=None, **told)  # type: ignore[arg-type]


def test_of_a_long_text_the_first_or_the_last_words_are_kept_and_a_short_one_is_whole() -> None:
    texts = ["a b c d e", "b c", "e d c"]
    first = fit_texts(texts, tokens="words", form="ids", vocabulary=20, length=3)
    last = fit_texts(texts, tokens="words", form="ids", vocabulary=20, length=3, keep="last")
    assert first is not None and last is not None
    words = [[" ".join(words_of(row, one)) for row in encode_texts(texts, one)] for one in (first, last)]
    assert words == [["a b c", "b c", "e d c"], ["c d e", "b c", "e d c"]]
