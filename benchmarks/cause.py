"""How often the experiment names the cause of a harmful fault, beside rules, plain gain and a price, and on healthy twins.

    python benchmarks/cause.py [--side calibration|held-out|fresh] [--limit 60] [--twins 1] [--workers 1]

Every case of benchmarks/faults runs once under ``isograd.watch`` (the findings and the present values come from there), and
once while its model inputs, its loss and what it is judged by are written down (``cause_tape``). Then its start is replayed
with one edit at a time. "rules" takes the alarms in their order; the other methods rank the same trials: "gain" by gain alone,
"price" by gain - 0.1 x the size of the edit, "two-sided" by sqrt(gain x harm); "search" is what ``watch.explain`` names
by experiment: it stops early, goes on to pairs and longer replays, and keeps silent; "answer" is the same with what it says was
seen and not tried, judged as "rules" are, where no experiment names a cause. Cases that cannot be replayed (several models or
optimizers, exceptions) are counted apart. Writes benchmarks/results/cause_<side>.json, of a sample
cause_<side>_<name>.json, of one program or operator a file under .benchmarks/.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from multiprocessing import get_context
from typing import Any

from cause_expected import right_kinds
from cause_figures import METHODS, Found, both, figures, hit
from cause_tape import Writer, batches_and_loss, judgeable, judged_by
from common import RESULTS, machine, table, write
from detection import Eyes, place_is_right
from faults import expected, harm
from faults.grounds import OPERATORS, PROGRAMS
from faults.settings import Program, Settings

SPEAK = 0.08
FEW = 5


class Replay:
    """A watch that keeps the start and writes the steps down; nothing is measured."""

    def __init__(self, writers: list[Writer]) -> None:
        self.writers = writers
        self.start: Any = None
        self.optimizer: Any = None
        self.steps = 0
        self.refused: list[str] = []

    def __call__(self, models: Any, optimizers: Any, *, steps: int) -> AbstractContextManager[Any]:
        """Begin."""
        from torch import nn

        from isograd.frameworks.torch.started import TorchStart

        single = isinstance(models, nn.Module) and not isinstance(optimizers, tuple | list)
        if not single:
            self.refused.append("several models or optimizers")
            return nullcontext()
        self.optimizer, self.steps = optimizers, steps
        self.start = TorchStart(models, (optimizers,))
        self.start.keep()
        self.writers.append(Writer((models,)))
        return self.writers[-1]


def shuffled(settings: Settings) -> Settings:
    """The settings with batches that differ; a script has no such setting."""
    same = getattr(settings, "sampling", "") == "same"
    return dataclasses.replace(settings, sampling="shuffled") if same else settings


def all_one(batches: Sequence[Any]) -> bool:
    """Whether one batch comes for ever."""
    from isograd.frameworks.torch.training_edits import alike

    return all(alike(batches[0], one) for one in batches)


def watched(program: Program, settings: Settings) -> Any:
    """The watch of one run, whatever became of it; None where it never began."""
    eyes = seen_by_eyes(program, settings)
    return None if eyes is None else eyes.watching


def seen_by_eyes(program: Program, settings: Settings) -> Eyes | None:
    """The watch of one run with what it was given, whatever became of it; None where it never began."""
    import isograd

    seen: list[Eyes] = []

    def watch(models: Any, optimizers: Any, *, steps: int) -> Any:
        seen.append(Eyes(isograd.watch))
        return seen[-1](models, optimizers, steps=steps)

    with contextlib.suppress(Exception):  # what a fault raises is no concern here
        program.train(settings, 0, watch)
    return seen[0] if seen and seen[0].watching is not None else None


def examine(task: tuple[str, str | None, str, Settings, str, int]) -> Found:
    """One case or healthy twin."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    name, operator, key, settings, hurt, seed = task
    program = PROGRAMS[name]
    names = [] if operator is None else operator.split(" + ")
    family = OPERATORS[names[0]].family if names else "healthy"
    kinds = frozenset[str]().union(*(right_kinds(one, OPERATORS[one].family, name) for one in names))
    found = Found(key, name, operator or "healthy", family, hurt, tuple(sorted(kinds)), planned=getattr(settings, "steps", 0))
    began = time.process_time()
    try:
        return dataclasses.replace(
            tried(program, operator, settings, seed, found), seconds=round(time.process_time() - began, 2)
        )
    except Exception as error:  # noqa: BLE001 - one case must not end the benchmark
        return dataclasses.replace(
            found, why_not=found.why_not or f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"
        )


def tried(program: Program, operator: str | None, settings: Settings, seed: int, found: Found) -> Found:
    """Watch, write down, replay, and let every method speak."""
    from isograd.explaining import Trials, allowance, candidates, cause_of
    from isograd.health.case import case_of
    from isograd.health.habits import loop_of
    from isograd.health.present import present_of

    eyes = seen_by_eyes(program, settings)
    if eyes is None:
        return dataclasses.replace(found, why_not="it raises before its loop")
    watch = eyes.watching
    findings = watch.report().findings
    case = case_of(watch.trace)
    writers: list[Writer] = []
    replay = Replay(writers)
    planned = case.planned or case.taken  # a script says itself how long it runs
    found = dataclasses.replace(found, planned=planned)
    fresh = shuffled(settings)
    with judged_by(writers), contextlib.suppress(Exception):
        program.train(fresh, seed, replay)
    if not writers:
        return dataclasses.replace(found, why_not=(*replay.refused, "it raises before its loop")[0])
    writer = writers[-1]
    for handle in writer.handles:
        handle.remove()
    try:
        batches, loss = batches_and_loss(writer)
    except LookupError as error:
        return dataclasses.replace(found, why_not=str(error))
    if len(batches) < FEW or all_one(batches):  # batches of the sound program, which its author has as well: the loader
        sound: list[Writer] = []
        with judged_by(sound), contextlib.suppress(Exception):
            program.train(program.settings, seed, Replay(sound))
        batches, _ = batches_and_loss(sound[-1])
        writer.judged, writer.evaluated = sound[-1].judged, sound[-1].evaluated
    given, patient = judgeable(
        writer, batches, lambda some: replay.start.patient(some, loss, loop_of(case), optimizer=replay.optimizer)
    )
    attempt = Trials(patient, given)
    said = cause_of(patient, given, case, findings, allowance(None, planned), trials=attempt)
    everything = full_table(attempt, candidates(case, findings, present_of(case)), case)
    return dataclasses.replace(
        found,
        answer=said.answer,
        certainty=said.causes[0].certainty if said.causes else "",
        control=round(said.control.value, 4),
        gain=round(said.causes[0].gain, 4) if said.causes else 0.0,
        steps=said.spent,
        placed=bool(said.causes) and in_its_place(operator, found.family, said.causes[0].where, eyes),
        seen=tuple((one.finding.disease, one.standing) for one in said.seen),
        seen_in_place=bool(said.seen) and in_its_place(operator, found.family, said.seen[0].finding.where, eyes),
        named={
            **ranked(everything),
            "search": of_search(said),
            "rules": of_rules(operator, found.family, findings),
            "answer": of_answer(said, operator, found.family),
        },
        causes=tuple(one.edit.kind for one in said.causes),
        named_at_all=tuple(edit.kind for one in said.causes for edit in (one.edit, *one.rivals)),
        tried=tuple(everything),
    )


def full_table(attempt: Callable[..., Any], proposals: Sequence[Any], case: Any) -> list[dict[str, Any]]:
    """Every candidate once, none left out: what the other methods rank."""
    from isograd.errors import ModelError
    from isograd.health.attempting import LENGTH
    from isograd.health.harm import harm_of
    from isograd.health.present import present_of
    from isograd.health.scoring import least_harm, score_of

    present = present_of(case)
    length = min(LENGTH, present.loop.steps or LENGTH)

    def skill(edits: tuple[Any, ...], steps: int) -> float:
        try:
            return float(attempt(edits, steps).value)
        except ModelError:
            return -0.2

    control, rows = skill((), length), []
    for one in proposals:
        steps = int(float(one.edit.value or 0)) if one.edit.kind == "steps" else length
        gain, known = skill((one.edit,), steps) - control, least_harm(harm_of(one.edit, present), one.edit.kind)
        rows.append(
            {
                "kind": one.edit.kind,
                "value": one.edit.value,
                "before": one.edit.before,
                "gain": round(gain, 4),
                "harm": None if known.value is None else round(known.value, 3),
                "score": 0.0 if one.edit.remedy else round(score_of(gain, known), 4),
                "size": one.edit.size,
                "urgent": one.urgent,
            }
        )
    return rows


def ranked(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The kinds that each way of ranking names, the best first; silent where nothing gains."""

    def order(value: Callable[[dict[str, Any]], float], least: float) -> tuple[str, ...]:
        able = sorted((row for row in rows if row["gain"] > SPEAK and value(row) > least), key=value, reverse=True)
        return tuple(dict.fromkeys(row["kind"] for row in able))

    return {
        "gain": order(lambda row: row["gain"], 0.0),
        "price": order(lambda row: row["gain"] - 0.1 * row["size"], 0.0),
        "two-sided": order(lambda row: row["score"], 0.0),
    }


def in_its_place(operator: str | None, family: str, where: str, eyes: Eyes) -> bool:
    """Whether a cause is placed where the fault is; "model" stands for layers where any would be right."""
    if operator is None:
        return False
    places = expected.of(operator.split(" + ")[0], family).places
    if where == "model":
        return bool(places & {"any layer", "hidden"})
    return place_is_right(places, {"where": where, "layers": ()}, eyes)


def of_search(said: Any) -> tuple[str, ...]:
    """The first cause and what could not be told apart from it."""
    if said.answer == "no signal":
        return ("no_signal",)
    if not said.causes:
        return ()
    first = said.causes[0]
    return (first.edit.kind, *(one.kind for one in first.rivals))


def of_answer(said: Any, operator: str | None, family: str) -> tuple[str, ...]:
    """What was seen and is not refuted, which stands before what the search names, or for it where that is nothing."""
    seen = of_rules(operator, family, [one.finding for one in said.seen if one.standing != "refuted"])
    return (*seen, *of_search(said)) if said.causes else of_search(said) or seen


def of_rules(operator: str | None, family: str, findings: Sequence[Any]) -> tuple[str, ...]:
    """The alarms in their order; one of a right disease reads as "right"."""
    alarms = [finding for finding in findings if finding.alarm]
    if operator is None:
        return tuple(finding.disease for finding in alarms)
    wanted = expected.of(operator.split(" + ")[0], family)
    return tuple("right" if expected.disease_is_right(wanted, finding.disease) else finding.disease for finding in alarms)


def pairs(cases: Sequence[dict[str, Any]], wanted: int) -> list[tuple[str, str | None, str, Settings, str, int]]:
    """Programs with two strong faults of different families at once, both of which an edit takes back."""
    able = [
        case for case in cases if case["harm"] == "strong" and right_kinds(case["operator"], case["family"]) - {"no_signal"}
    ]
    able = [case for case in able if isinstance(case["kind"], str) and case["kind"] == "fails" and "gan" not in case["program"]]
    made: list[tuple[str, str | None, str, Settings, str, int]] = []
    for place, case in enumerate(able):
        program = PROGRAMS[case["program"]]
        first = OPERATORS[case["operator"]].settings(program, case["strength"])
        for other in (*able[place + 1 :], *able[:place]):
            kinds = right_kinds(case["operator"], case["family"]), right_kinds(other["operator"], other["family"])
            if first is None or len(made) >= wanted or kinds[0] & kinds[1]:
                continue
            spoiled = OPERATORS[other["operator"]].settings(dataclasses.replace(program, settings=first), other["strength"])
            alone = OPERATORS[other["operator"]].settings(program, other["strength"])
            if spoiled is not None and alone is not None and other["program"] != case["program"]:
                both_names = f"{case['operator']} + {other['operator']}"
                made.append((program.name, both_names, f"{program.name}:{both_names}", spoiled, "double", 0))
                break
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=("calibration", "held-out", "fresh"), default="calibration")
    parser.add_argument("--limit", type=int, help="so many cases alone, spread over the list")
    parser.add_argument("--skip", type=int, default=0, help="with --limit: so many places further on, for another sample")
    parser.add_argument("--operator", help="cases of operators whose name holds this")
    parser.add_argument("--program", help="cases of this program alone")
    parser.add_argument("--twins", type=int, default=1, help="seeds of each healthy twin")
    parser.add_argument("--pairs", type=int, default=0, help="so many programs with two faults at once")
    parser.add_argument("--name", default="sample", help="of the file that a sample is written to")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    side = json.loads((RESULTS / "faults_cases.json").read_text("utf-8"))["result"][options.side]
    cases = [case for case in side["cases"] if options.operator in (None, case["operator"])]
    cases = [case for case in cases if options.program in (None, case["program"])]
    whole = len(cases)
    if options.limit and options.limit < whole:
        cases = [cases[(position * whole // options.limit + options.skip) % whole] for position in range(options.limit)]
    tasks: list[tuple[str, str | None, str, Settings, str, int]] = []
    for case in cases:
        settings = OPERATORS[case["operator"]].settings(PROGRAMS[case["program"]], case["strength"])
        assert settings is not None
        tasks.append((case["program"], case["operator"], case["key"], settings, case["harm"], 0))
    names = [name for name in side["twins"] if options.program in (None, name)]
    healthy = [
        (name, None, f"{name}:healthy", PROGRAMS[name].settings, "none", seed)
        for name in names
        for seed in range(options.twins)
    ]
    double = pairs(cases, options.pairs)
    with get_context("spawn").Pool(options.workers) as pool:
        found = []
        everything = [*tasks, *healthy, *double]
        for count, one in enumerate(pool.imap(examine, everything), 1):
            found.append(one)
            print(f"{count}/{len(everything)} {line(one)}", file=sys.stderr, flush=True)
    last = len(tasks) + len(healthy)
    told = figures(found[: len(tasks)], found[len(tasks) : last]) | {"two_faults": both(found[last:])}
    result = {"figures": told, "found": [asdict(one) for one in found]}
    if options.operator is None and options.program is None and options.twins:
        sampled = "" if len(cases) == len(side["cases"]) else f"_{options.name}"
        where = write(f"cause_{options.side}{sampled}", result)
    else:
        harm.LOG.parent.mkdir(exist_ok=True)
        where = harm.LOG.with_name(f"cause_{options.side}_part.json")
        where.write_text(json.dumps({"machine": machine(), "result": result}, indent=1) + "\n", encoding="utf-8")
    strong, moderate, silent = told["strong"], told["moderate"], told["twins"]
    rows = [(method, *strong[method], *moderate[method], silent[method]) for method in METHODS]
    print(table(rows, ("method", "strong top-1", "top-3", "moderate top-1", "top-3", "speaks on twins")))
    print(json.dumps(told, indent=1))
    print(where, file=sys.stderr)


def line(one: Found) -> str:
    """One case in a line."""
    if one.why_not:
        return f"-  {one.key}: {one.why_not}"
    mark = "ok" if hit(one, "search", 1) or (not one.kinds and not one.causes) else "3 " if hit(one, "search", 3) else "NO"
    mark = "s " if mark == "NO" and hit(one, "answer", 1) else mark
    said = ", ".join(one.named.get("search", ())) or f"{one.answer}{''.join(f'; {a} {b}' for a, b in one.seen)}"
    measured = f"{one.certainty} {one.gain:.2f} from {one.control:.2f}, {one.steps} steps"
    return f"{mark} {one.key} ({one.harm}): {said} [{measured}] wants {' '.join(one.kinds)}"


if __name__ == "__main__":
    main()
