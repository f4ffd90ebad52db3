"""Nothing is half-written: old or new, whole or refused."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isograd import files
from isograd.errors import DamagedError, StorageError


def full(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_is_replaced_whole_and_nothing_is_left_aside(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    files.write_text(path, "old")
    files.write_text(path, "grün")
    assert path.read_bytes() == "grün".encode()
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path, monkeypatch, call):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(StorageError, match="No space left"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_interruption_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_text(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"] and path.read_text() == "old"


def folder(tmp_path):
    path = tmp_path / "bundle"
    with files.new_folder(path) as aside:
        (aside / "a.bin").write_bytes(b"abc")
        (aside / "deep").mkdir()
        (aside / "deep" / "b.bin").write_bytes(bytes(range(8)))
    return path


def test_a_folder_appears_whole_with_its_manifest(tmp_path):
    path = folder(tmp_path)
    assert set(files.verify(path)) == {"a.bin", "deep/b.bin"}
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_is_not_there_before_its_end(tmp_path):
    with files.new_folder(tmp_path / "bundle") as aside:
        (aside / "a").write_text("x")
        assert not (tmp_path / "bundle").exists()


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    def fail(aside):
        (aside / "a").write_text("x")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), files.new_folder(tmp_path / "bundle") as aside:
        fail(aside)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_a_folder_is_written_leaves_nothing_but_a_clear_message(tmp_path, monkeypatch):
    with pytest.raises(StorageError, match=r"No space left.*\n.*\n.*free some space"), files.new_folder(tmp_path / "bundle"):
        full()
    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(StorageError, match="No space left"), files.new_folder(tmp_path / "bundle") as aside:
        (aside / "a").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_never_overwritten(tmp_path):
    path = folder(tmp_path)
    with pytest.raises(StorageError, match="exists already"), files.new_folder(path):
        pass
    assert set(files.verify(path)) == {"a.bin", "deep/b.bin"}


def test_every_flipped_bit_is_noticed(tmp_path):
    path = folder(tmp_path)
    for name in ("a.bin", "deep/b.bin"):
        whole = (path / name).read_bytes()
        for bit in range(8 * len(whole)):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            (path / name).write_bytes(damaged)
            with pytest.raises(DamagedError, match=name):
                files.verify(path)
        (path / name).write_bytes(whole)
    files.verify(path)


def test_every_flipped_byte_of_the_manifest_is_noticed_or_harmless(tmp_path):
    path = folder(tmp_path)
    manifest = path / files.MANIFEST
    whole = manifest.read_bytes()
    promised = files.verify(path)
    for position in range(len(whole)):
        manifest.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        try:
            found = files.verify(path)
        except DamagedError:
            continue
        assert found == promised  # white space between the entries


def test_a_missing_an_odd_and_a_truncated_file_are_noticed(tmp_path):
    path = folder(tmp_path)
    (path / "odd").write_text("x")
    with pytest.raises(DamagedError, match="odd does not match"):
        files.verify(path)
    (path / "odd").unlink()
    (path / "a.bin").write_bytes(b"ab")
    (path / "deep" / "b.bin").unlink()
    with pytest.raises(DamagedError, match=r"a\.bin, deep/b\.bin do not match"):
        files.verify(path)


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_manifest_that_is_none_is_refused(tmp_path, content):
    path = folder(tmp_path)
    (path / files.MANIFEST).write_text(content)
    with pytest.raises(DamagedError, match="manifest"):
        files.verify(path)


def test_what_an_interrupted_writer_left_aside_is_swept_and_nothing_else(tmp_path):
    path = folder(tmp_path)
    (tmp_path / ".aside-1").mkdir()
    (tmp_path / ".aside-1" / "a").write_text("x")
    (tmp_path / ".aside-2").write_text("x")
    files.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_torn_last_line_is_not_read_and_is_cut_off_by_the_next_writer(tmp_path):
    path = tmp_path / "journal.jsonl"
    files.append_line(path, '{"a": 1}')
    with open(path, "a") as file:
        file.write('{"a": 2')
    assert files.read_lines(path) == ['{"a": 1}']
    files.append_line(path, '{"a": 3}')
    assert path.read_text() == '{"a": 1}\n{"a": 3}\n'


@given(st.lists(st.text(st.characters(blacklist_characters="\n\r", blacklist_categories=["Cs"])), max_size=5), st.data())
def test_a_journal_cut_anywhere_loses_at_most_the_line_that_was_cut(tmp_path_factory, lines, data):
    path = tmp_path_factory.mktemp("journal") / "j"
    for line in lines:
        files.append_line(path, line)
    whole = path.read_bytes() if lines else b""
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    assert files.read_lines(path) == lines[: whole[:cut].count(b"\n")]
    files.append_line(path, "next")
    assert files.read_lines(path) == [*lines[: whole[:cut].count(b"\n")], "next"]


def test_a_torn_tail_longer_than_a_block_is_cut_off(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(b"first\n" + b"x" * 200_000)
    files.append_line(path, "second")
    assert files.read_lines(path) == ["first", "second"]


def test_a_full_disk_while_appending_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        files.append_line(tmp_path / "j", "x")
