"""Every record survives the journey to JSON and back, and what was damaged on the way is refused."""

import dataclasses
import importlib
import json
import math
import pkgutil
import types
import typing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import isograd.records
from isograd.errors import DamagedError
from isograd.records import codec
from isograd.records.edit import EDITS, Edit
from isograd.records.finding import Finding
from isograd.records.moments import Gram, Moments
from isograd.records.report import Report
from isograd.records.trace import Step, Trace


def every_record():
    found = []
    for module in pkgutil.iter_modules(isograd.records.__path__):
        loaded = importlib.import_module(f"isograd.records.{module.name}")
        found += [k for k in vars(loaded).values() if dataclasses.is_dataclass(k) and k.__module__ == loaded.__name__]
    return found


RECORDS = every_record()


def of(kind):
    """A strategy for values of a type hint."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([of(arg) for arg in args])
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return st.lists(of(args[0]), max_size=2).map(tuple)
        return st.tuples(*map(of, args))
    if dataclasses.is_dataclass(kind):
        return record(kind)
    return {
        float: st.floats(),
        int: st.integers(-(2**53), 2**53),
        str: st.one_of(st.text(max_size=6), st.sampled_from(["NaN", "=Infinity", "-Infinity", "="])),
        bool: st.booleans(),
        type(None): st.none(),
    }[kind]


def record(kind):
    if kind is Gram:
        return st.just(Gram(1, (2.0,)))
    hints = typing.get_type_hints(kind)
    if kind is Edit:
        return st.builds(Edit, kind=st.sampled_from(sorted(EDITS)), value=of(hints["value"]), before=of(hints["before"]))
    return st.builds(kind, **{name: of(hint) for name, hint in hints.items() if not name.startswith("_")})


def plain(value):
    """Comparable even where there are NaNs, and strict about types."""
    if dataclasses.is_dataclass(value):
        return type(value), tuple(plain(getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    return type(value), "nan" if isinstance(value, float) and math.isnan(value) else value


def test_there_are_records_to_try():
    assert {Moments, Report, Trace, Step, Edit, Finding} <= set(RECORDS)


def required(kind):
    fields, missing = dataclasses.fields(kind), dataclasses.MISSING
    return {field.name for field in fields if field.default is missing and field.default_factory is missing}


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_record_comes_back_as_it_was(kind):
    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(record(kind))
    def holds(value):
        text = codec.dumps(value)
        assert "\n" not in text
        assert plain(codec.loads(kind, text)) == plain(value)

    holds()


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_a_missing_field_an_odd_field_and_another_format_are_refused(kind):
    document = {"format": f"isograd.{kind.__name__}", "version": 1, "record": {}}
    if required(kind):
        with pytest.raises(DamagedError, match="missing fields"):
            codec.from_document(kind, document)
    with pytest.raises(DamagedError, match="unknown fields"):
        codec.from_document(kind, document | {"record": {"surprise": 1}})
    with pytest.raises(DamagedError, match="Other"):
        codec.from_document(kind, document | {"format": "isograd.Other"})
    with pytest.raises(DamagedError, match="reads version 1"):
        codec.from_document(kind, document | {"version": 2})


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_a_field_with_a_default_that_an_older_isograd_did_not_know_takes_its_default(kind):
    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(record(kind))
    def holds(value):
        document = codec.to_document(value)
        older = {name: held for name, held in document["record"].items() if name in required(kind)}
        try:
            expected = kind(**{name: getattr(value, name) for name in older})
        except ValueError:  # these fields alone are no record of this kind
            with pytest.raises(DamagedError):
                codec.from_document(kind, document | {"record": older})
        else:
            assert plain(codec.from_document(kind, document | {"record": older})) == plain(expected)

    holds()


MOMENTS = codec.to_document(Moments.of([1.0, 2.0]))


@pytest.mark.parametrize(
    ("field", "value"),
    [("count", "2"), ("count", 2.5), ("count", True), ("count", None), ("largest", "wide"), ("largest", True), ("zeros", [0])],
)
def test_a_value_of_another_type_is_refused_and_named(field, value):
    with pytest.raises(DamagedError, match=field):
        codec.from_document(Moments, MOMENTS | {"record": MOMENTS["record"] | {field: value}})


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"isograd.Moments"', "[" * 100_000])
def test_what_is_no_document_is_refused(text):
    with pytest.raises(DamagedError):
        codec.loads(Moments, text)


@given(st.integers(1, 60), st.integers(0, 255))
def test_a_damaged_text_is_refused_or_still_a_record_of_right_types(position, byte):
    text = codec.dumps(Moments.of([1.0, 2.0, math.nan]))
    damaged = text[:position] + chr(byte) + text[position + 1 :]
    try:
        found = codec.loads(Moments, damaged)
    except DamagedError:
        return
    assert isinstance(found, Moments)


def test_a_rule_of_the_record_itself_is_kept():
    document = codec.to_document(Edit("clip_norm", 1.0))
    with pytest.raises(DamagedError, match="no edit is called"):
        codec.from_document(Edit, document | {"record": document["record"] | {"kind": "prayer"}})


def test_numbers_that_json_lacks_are_words():
    text = codec.dumps(Moments(largest=math.inf, scaled_total=math.nan, scaled_squares=-math.inf))
    assert json.loads(text)["record"]["largest"] == "Infinity"
    found = codec.loads(Moments, text)
    assert found.largest == math.inf and math.isnan(found.scaled_total) and found.scaled_squares == -math.inf


def test_what_is_no_plain_value_does_not_become_json():
    with pytest.raises(TypeError, match="plain values"):
        codec.dumps(dataclasses.replace(Edit("clip_norm", 1.0), value={1}))
