"""Faults to be planted into copies of real data, each with the doubt that should tell of it."""

from __future__ import annotations

import csv
import io
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Plant:
    """A fault: the set it goes into, what to do to the copy, and the doubt that tells of it."""

    name: str
    into: str
    do: Callable[[Path, random.Random], None]
    kind: str
    where: str = ""


def read_rows(path: Path) -> Rows:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def write_rows(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def on_rows(change: Callable[[Rows, random.Random], Rows]) -> Callable[[Path, random.Random], None]:
    """A change of the rows of the one table in the folder."""

    def do(folder: Path, rng: random.Random) -> None:
        write_rows(folder / "table.csv", change(read_rows(folder / "table.csv"), rng))

    return do


def some(things: list[Path], share: float, rng: random.Random) -> list[Path]:
    return rng.sample(things, max(1, round(share * len(things))))


def crossing(share: float) -> Callable[[Rows, random.Random], Rows]:
    def change(rows: Rows, rng: random.Random) -> Rows:
        train = [row for row in rows if row["split"] == "train"]
        test = [i for i, row in enumerate(rows) if row["split"] == "test"]
        for i in rng.sample(test, round(share * len(test))):
            rows[i] = rng.choice(train) | {"split": "test"}
        return rows

    return change


def conflicting(target: str, share: float) -> Callable[[Rows, random.Random], Rows]:
    def change(rows: Rows, rng: random.Random) -> Rows:
        classes = sorted({row[target] for row in rows})
        for row in rng.sample(rows, round(share * len(rows))):
            rows.append(row | {target: rng.choice([one for one in classes if one != row[target]])})
        return rows

    return change


def column(name: str, value: Callable[[dict[str, str], int, random.Random], str]) -> Callable[[Rows, random.Random], Rows]:
    def change(rows: Rows, rng: random.Random) -> Rows:
        return [row | {name: value(row, i, rng)} for i, row in enumerate(rows)]

    return change


def in_some(name: str, share: float, value: Callable[[str], str]) -> Callable[[Rows, random.Random], Rows]:
    def change(rows: Rows, rng: random.Random) -> Rows:
        for row in rng.sample(rows, max(1, round(share * len(rows)))):
            row[name] = value(row[name])
        return rows

    return change


def in_test(name: str, value: Callable[[str, random.Random], str]) -> Callable[[Rows, random.Random], Rows]:
    def change(rows: Rows, rng: random.Random) -> Rows:
        return [row | {name: value(row[name], rng)} if row["split"] == "test" else row for row in rows]

    return change


def near(share: float) -> Callable[[Rows, random.Random], Rows]:
    def change(rows: Rows, rng: random.Random) -> Rows:
        return rows + [
            row | {"text": row["text"].upper().replace(" .", "!")} for row in rng.sample(rows, round(share * len(rows)))
        ]

    return change


def mangled(text: str) -> str:
    return ("café — it’s " + text).encode("utf-8").decode("cp1252", errors="replace")


def ragged(folder: Path, rng: random.Random) -> None:
    lines = (folder / "table.csv").read_text("utf-8").split("\n")
    for i in rng.sample(range(1, len(lines) - 1), len(lines) // 20):
        lines[i] += ",surplus"
    (folder / "table.csv").write_text("\n".join(lines), "utf-8")


def latin_bytes(folder: Path, rng: random.Random) -> None:
    rows = read_rows(folder / "table.csv")
    rng.choice(rows)["text"] += " café"
    write_rows(folder / "table.csv", rows)
    (folder / "table.csv").write_bytes((folder / "table.csv").read_text("utf-8").encode("cp1252", errors="replace"))


def pictures(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jpg"))


def broken_files(suffix: str, how: str) -> Callable[[Path, random.Random], None]:
    def do(folder: Path, rng: random.Random) -> None:
        for path in some(sorted(folder.rglob(f"*{suffix}")), 0.05, rng):
            content = path.read_bytes()
            cut = {"empty": b"", "cut": content[: len(content) // 2], "noise": rng.randbytes(len(content))}
            path.write_bytes(cut[how])

    return do


def copied_pictures(change: Callable[[Image.Image], Image.Image] | None, quality: int) -> Callable[[Path, random.Random], None]:
    """Training pictures in the place of test pictures of the same class; changed a little where ``change`` says so."""

    def do(folder: Path, rng: random.Random) -> None:
        for path in some(pictures(folder / "test"), 0.02, rng):
            other = rng.choice(pictures(folder / "train" / path.parent.name))
            if change is None:
                shutil.copyfile(other, path)
            else:
                change(Image.open(other)).save(path, quality=quality)

    return do


def wrong_label(folder: Path, rng: random.Random) -> None:
    for path in some(pictures(folder / "train"), 0.01, rng):
        other = rng.choice([one for one in (folder / "train").iterdir() if one != path.parent])
        shutil.copyfile(path, other / f"copy-{path.name}")


def as_file(change: Callable[[Image.Image, Path], None]) -> Callable[[Path, random.Random], None]:
    def do(folder: Path, rng: random.Random) -> None:
        for path in some(pictures(folder), 0.01, rng):
            with Image.open(path) as image:
                image.load()
            change(image, path)

    return do


def turned(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)


def animated(image: Image.Image, path: Path) -> None:
    path.unlink()
    image.save(path.with_suffix(".gif"), save_all=True, append_images=[image.rotate(90), image.rotate(180)])


def deep(image: Image.Image, path: Path) -> None:
    path.unlink()
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path.with_suffix(".png"))


def bomb(image: Image.Image, path: Path) -> None:
    path.unlink()
    Image.new("1", (8000, 7000)).save(path.with_suffix(".png"))


def darker(folder: Path, rng: random.Random) -> None:
    for path in pictures(folder / "test"):
        image = Image.open(path).point(lambda value: value * 0.6)
        image.save(path, quality=95)


def sounds(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.flac"))


def on_sounds(change: Callable[[np.ndarray], np.ndarray], share: float = 0.05) -> Callable[[Path, random.Random], None]:
    def do(folder: Path, rng: random.Random) -> None:
        for path in some(sounds(folder), share, rng):
            samples, rate = soundfile.read(path, dtype="float32")
            soundfile.write(path, change(samples), rate)

    return do


def clip(level: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda samples: (
        np.clip(samples, -level * np.abs(samples).max(), level * np.abs(samples).max()) / np.abs(samples).max()
    )


def doubled_sounds(folder: Path, rng: random.Random) -> None:
    for path in some(sounds(folder), 0.03, rng):
        shutil.copyfile(path, path.with_name(path.stem + "x.flac"))


def plants() -> Iterator[Plant]:
    for share in (0.01, 0.05):
        yield Plant(f"duplicates across parts, {share:.0%}", "adult", on_rows(crossing(share)), "duplicates across parts")
        yield Plant(f"duplicates across parts, {share:.0%}", "reviews", on_rows(crossing(share)), "duplicates across parts")
        yield Plant(f"label conflicts, {share:.0%}", "adult", on_rows(conflicting("income", share)), "label conflicts")
        yield Plant(f"label conflicts, {share:.0%}", "reviews", on_rows(conflicting("label", share)), "label conflicts")
        yield Plant(f"near-duplicates, {share:.0%}", "reviews", on_rows(near(share)), "near-duplicates")
    leak = column("code", lambda row, i, rng: {"<=50K": "A", ">50K": "B"}[row["income"]])
    yield Plant("leaking category", "adult", on_rows(leak), "target leakage", "code")
    noisy = column("score", lambda row, i, rng: f"{(row['income'] == '>50K') + rng.gauss(0, 0.15):.3f}")
    yield Plant("leaking number, with noise", "adult", on_rows(noisy), "target leakage", "score")
    uuid = column("customer", lambda row, i, rng: f"{rng.getrandbits(64):016x}")
    yield Plant("identifier of letters", "adult", on_rows(uuid), "identifier", "customer")
    yield Plant("running number", "adult", on_rows(column("n", lambda row, i, rng: str(i))), "identifier", "n")
    sparse = column("customer_id", lambda row, i, rng: str(10_000_000 + i * 37 + rng.randrange(37)))
    yield Plant("numeric identifier", "adult", on_rows(sparse), "identifier", "customer_id")
    yield Plant("constant column", "adult", on_rows(column("year", lambda row, i, rng: "1994")), "constant column", "year")
    rare = column("flag", lambda row, i, rng: "yes" if i % 1000 == 7 else "no")
    yield Plant("near-constant column", "adult", on_rows(rare), "near-constant column", "flag")
    older = in_test("age", lambda word, rng: str(int(word) + 8))
    yield Plant("drift of a number", "adult", on_rows(older), "drift", "column 'age'")
    moved = in_test("education", lambda word, rng: "HS-grad" if rng.random() < 0.3 else word)
    yield Plant("drift of a category", "adult", on_rows(moved), "drift", "column 'education'")
    labelled = in_test("income", lambda word, rng: ">50K" if rng.random() < 0.2 else word)
    yield Plant("drift of the label", "adult", on_rows(labelled), "drift", "the label")
    thousand = in_some("hr_per_week", 0.001, lambda word: str(int(word) * 1000))
    yield Plant("a unit mistaken by a thousand", "adult", on_rows(thousand), "outliers", "hr_per_week")
    code = in_some("age", 0.02, lambda word: "-999")
    yield Plant("a code for missing", "adult", on_rows(code), "code for missing", "age")
    lost = in_some("income", 0.02, lambda word: "")
    yield Plant("missing target", "adult", on_rows(lost), "missing target", "income")
    yield Plant("ragged rows, 5 %", "adult", ragged, "unreadable")
    for share in (0.005, 0.05):
        yield Plant(
            f"wrong encoding, {share:.1%}", "reviews", on_rows(in_some("text", share, mangled)), "wrong encoding", "text"
        )
    yield Plant("a file in Windows-1252", "reviews", latin_bytes, "refused: is not UTF-8")
    yield Plant("empty texts", "reviews", on_rows(in_some("text", 0.01, lambda text: " . ")), "empty text", "text")
    for how in ("empty", "cut", "noise"):
        yield Plant(f"corrupt pictures, 5 %: {how}", "photos", broken_files(".jpg", how), "unreadable")
        yield Plant(f"corrupt recordings, 5 %: {how}", "digits", broken_files(".flac", how), "unreadable")
    yield Plant("copied pictures across parts", "photos", copied_pictures(None, 0), "duplicates across parts")
    again = copied_pictures(lambda image: image, 75)
    yield Plant("saved again at another quality", "photos", again, "near-duplicates")
    light = copied_pictures(lambda image: image.point(lambda value: value * 0.85), 95)
    yield Plant("copied with other light", "photos", light, "near-duplicates")
    yield Plant("a picture in two classes", "photos", wrong_label, "label conflicts")
    yield Plant("darker test pictures", "photos", darker, "drift", "the brightness")
    png = as_file(lambda image, path: image.save(path, format="PNG"))
    yield Plant("wrong extension", "photos", png, "wrong extension")
    yield Plant("CMYK", "photos", as_file(lambda image, path: image.convert("CMYK").save(path)), "CMYK")
    yield Plant("turned by EXIF", "photos", as_file(turned), "turned by EXIF")
    yield Plant("animated", "photos", as_file(animated), "animated")
    yield Plant("16-bit", "photos", as_file(deep), "16-bit")
    yield Plant("above 50 megapixels", "photos", as_file(bomb), "unreadable")
    blank = as_file(lambda image, path: Image.new("RGB", image.size, (90, 90, 90)).save(path))
    yield Plant("blank pictures", "photos", blank, "blank pictures")
    for level in (0.3, 0.6):
        yield Plant(f"clipped at {level:.0%} of the peak", "digits", on_sounds(clip(level)), "clipped")
    yield Plant("silent recordings", "digits", on_sounds(lambda samples: samples * 0), "silent")
    yield Plant("copied recordings", "digits", doubled_sounds, "duplicates")
    turned_down = on_sounds(lambda samples: np.tile(samples, 60), 0.002)
    yield Plant("a recording sixty times as long", "digits", turned_down, "odd length")


def weak_plants() -> Iterator[Plant]:
    """Faults at or below the bounds that the doubts state, or of a form that they do not claim: told apart, never counted."""
    yield Plant("duplicates across parts, 0.3%", "adult", on_rows(crossing(0.003)), "duplicates across parts")
    yield Plant("duplicates across parts, 0.3%", "reviews", on_rows(crossing(0.003)), "duplicates across parts")
    noisy = column("score", lambda row, i, rng: f"{(row['income'] == '>50K') + rng.gauss(0, 0.35):.3f}")
    yield Plant("leak with much noise (right in 92 %)", "adult", on_rows(noisy), "target leakage", "score")
    half = column("score", lambda row, i, rng: ("1" if row["income"] == ">50K" else "0") if i % 2 else "")
    yield Plant("leak in every second row", "adult", on_rows(half), "target leakage", "score")
    older = in_test("age", lambda word, rng: str(int(word) + 2))
    yield Plant("drift by two years", "adult", on_rows(older), "drift", "column 'age'")
    tenfold = in_some("hr_per_week", 0.001, lambda word: str(int(word) * 10))
    yield Plant("a unit mistaken by ten", "adult", on_rows(tenfold), "outliers", "hr_per_week")
    mirror = copied_pictures(lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 95)
    yield Plant("mirrored copies", "photos", mirror, "near-duplicates")
    shifted = copied_pictures(lambda image: image.crop((2, 2, 32, 32)).resize((32, 32)), 95)
    yield Plant("cropped copies", "photos", shifted, "near-duplicates")
    poor = copied_pictures(lambda image: image, 20)
    yield Plant("saved again at a poor quality", "photos", poor, "near-duplicates")
    yield Plant("clipped at 90% of the peak", "digits", on_sounds(clip(0.9)), "clipped")
    faint = on_sounds(lambda samples: clip(0.3)(samples) * 0.05)
    yield Plant("clipped, then turned down below -20 dB", "digits", faint, "clipped")
