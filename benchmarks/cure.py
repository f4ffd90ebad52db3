"""How many faults are repaired, proven, at what price, beside random search, TPE, the textbook list and the preset alone.

    python benchmarks/cure.py [--side calibration|held-out|fresh] [--double] [--limit 30] [--skip 0] [--twins 6] [--null 8]
        [--alone]

Every case of benchmarks/faults is a program that can begin again from a seed: its model inputs and its loss are written down
while it runs (``cause_tape``). ``isograd.curing`` searches and proves with a budget of BUDGET runs. Then each method's choice
runs on FRESH seeds that nobody has seen: "repaired" is at least 95 % of what the healthy twin reaches there. Counted are faults
that an edit takes back (``cause_expected.curable_kinds``) and that harm the replay; the others are listed. The rivals have
the runs that the search took, on the same seed, examples and pool of edits; "random" and "TPE" take combinations, "textbook"
single edits from a list; ``--alone`` leaves the rivals out. ``--twins`` healthy programs go through the same; ``--null``
healthy programs give pairs of runs that differ by their seed alone, from which proofs of nothing are drawn.
``--double`` puts two single faults into one program, of which no edit takes both back (``cure_doubles``); "twin" is the program
without either. Cases are appended to
.benchmarks/cure_<side>.jsonl (cure_double.jsonl) as they end, and are not run again; the figures go to
benchmarks/results/cure_<side>.json (cure_double.json), with the number of cases in them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import torch

from cause_expected import curable_kinds
from common import RESULTS, machine, table, write
from cure_doubles import kinds_of, pairs, settings_of
from cure_ground import Ground
from faults import harm
from faults.grounds import OPERATORS, PROGRAMS
from faults.settings import Program, Settings
from isograd.curing import cured
from isograd.errors import IsogradError
from isograd.explaining import set_aside
from isograd.health.proving import prove
from isograd.health.remedies.luck import combinations
from isograd.health.trials import GAIN, Work
from isograd.proposing import proposer
from isograd.records.edit import EDITS, Edit
from isograd.records.proof import Candidate, Proof, Training
from isograd.records.skill import Skill
from isograd.spending import Budget

BUDGET, FRESH, ENOUGH = 40.0, 3, 0.95
FIRST_FRESH = 5_000
METHODS = ("cure", "preset", "random", "TPE", "textbook")
TEXTBOOK = (
    Edit("activation", "selu"),
    Edit("normalisation", "batch"),
    Edit("normalisation", "layer"),
    Edit("initialisation", "he"),
    Edit("clip_norm", 1.0),
    Edit("optimizer", "adam"),
    Edit("input_scale", "standard"),
    Edit("residual"),
)


def examined(program: Program, settings: Settings, *, twin: bool, alone: bool) -> dict[str, Any]:
    """One case: the proof, what the rivals choose (not where ``alone``), and what each choice is worth on fresh seeds."""
    ground = Ground(program, settings)
    held = ground.validation()
    began = time.process_time()
    proof = cured(ground, lambda seed: ground.tape(seed)[0], held, budget=Budget(runs=BUDGET), steps=ground.steps)
    seconds = time.process_time() - began
    row: dict[str, Any] = {
        "verdict": proof.verdict,
        "kind": proof.kind,
        "why": proof.why,
        "edits": [(edit.kind, edit.value) for edit in proof.edits],
        "size": sum(edit.size for edit in proof.edits),
        "cost_search": proof.cost_search,
        "cost_proof": proof.cost_proof,
        "half": proof.pair_length < proof.length,
        "control": None if proof.control is None else round(proof.control.skill.value, 4),
        "ceiling": None if proof.ceiling is None else proof.ceiling.skill,
        "cause": None if proof.cause is None else [proof.cause.answer, *(one.edit.kind for one in proof.cause.causes)],
        "effect": None if proof.effect is None else [round(x, 4) for x in dataclasses.astuple(proof.effect)],
        "seconds": round(seconds, 1),
    }
    if twin:
        return row
    chosen = {"cure": proof.edits if proof.verdict == "proven" else ()} | ({} if alone else rivals(ground, held, proof))
    sound = Ground(program, program.settings)
    row["twin"] = [round(fresh(sound, (), seed, sound.validation()), 4) for seed in seeds()]
    row["methods"] = {name: [round(fresh(ground, edits, seed, held), 4) for seed in seeds()] for name, edits in chosen.items()}
    row["chosen"] = {name: [(edit.kind, edit.value) for edit in edits] for name, edits in chosen.items()}
    bar = ENOUGH * statistics.fmean(row["twin"])
    row["repaired"] = {name: statistics.fmean(values) >= bar for name, values in row["methods"].items()}
    return row


def seeds() -> range:
    """Seeds that no search and no proof has seen."""
    return range(FIRST_FRESH, FIRST_FRESH + FRESH)


def fresh(ground: Ground, edits: Sequence[Edit], seed: int, held: Any) -> float:
    """The skill after a whole run; of what fails, the worst."""
    batches = ground.tape(seed)[0]
    apart = set_aside(batches)
    training, judged = (batches, held) if held else (batches[:-apart], batches[-apart:])
    try:
        patient = ground.born(seed, training)
        for edit in edits:
            patient = patient.apply(edit)
        length = next((int(float(edit.value)) for edit in edits if edit.kind == "steps" and edit.value), ground.steps)
        return float(patient.trained(training, length).judge(judged).value)
    except Exception:  # noqa: BLE001 - what fails is worth nothing
        return -0.2


def rivals(ground: Ground, held: Any, proof: Proof) -> dict[str, tuple[Edit, ...]]:
    """What the other methods choose with the runs that the search took, by the search's own seed and half of the examples."""
    runs = max(1, round(proof.cost_search) - 1)  # the untouched program is known to all
    halves = ground.halves(held) if held else None
    half = list(halves[0]) if halves else held
    pool = pool_of(proof)
    preset = proof.ceiling.edits if proof.ceiling is not None else ()

    def skill(edits: tuple[Edit, ...]) -> float:
        return fresh(ground, edits, 0, half)

    least = (proof.control.skill.value if proof.control is not None else 0.0) + GAIN
    draws = combinations(pool, random.Random(7).random)
    lucky = [proof.luck.edits] if proof.luck is not None and proof.luck.whole else None  # random search ran already
    tried: dict[str, list[tuple[Edit, ...]]] = {
        "preset": [preset],
        "random": lucky or ([next(draws) for _ in range(runs)] if pool else []),
        "textbook": [(edit,) for edit in textbook(ground)[:runs]],
    }
    chosen = {name: best_of([(skill(edits), edits) for edits in choices], least) for name, choices in tried.items()}
    return chosen | {"TPE": best_of(list(of_tpe(pool, runs, skill)), least)}


def pool_of(proof: Proof) -> list[Edit]:
    """Every single edit that the search knew of, or put together."""
    every = chain.from_iterable(one.edits for one in proof.candidates)
    tried = (one.edit for one in proof.cause.tried) if proof.cause is not None else ()
    return [edit for edit in dict.fromkeys(chain(every, tried)) if edit.kind != "steps"]


def textbook(ground: Ground) -> list[Edit]:
    """The list, and a tenth of the present rate."""
    patient = ground.born(0, ground.tape(0)[0])
    rate = float(patient.optimizer.param_groups[0]["lr"])
    return [*TEXTBOOK[:1], Edit("learning_rate", 0.1 * rate, before=rate), *TEXTBOOK[1:]]


def of_tpe(pool: Sequence[Edit], runs: int, skill: Any) -> Iterator[tuple[float, tuple[Edit, ...]]]:
    """Optuna's TPE over the same combinations as luck, told of each before the next."""
    propose, known = proposer(pool, lambda edits: True), list[Candidate]()
    for _ in range(runs):
        edits = propose(known)
        if edits is None:
            return
        known.append(Candidate(edits, skill(edits), "combination", "TPE", 1.0))
        yield known[-1].skill or 0.0, edits


def best_of(tried: Sequence[tuple[float, tuple[Edit, ...]]], least: float) -> tuple[Edit, ...]:
    """The best, where it is better than the program by what may be spoken of."""
    value, edits = max(tried, key=lambda one: one[0], default=(-1.0, ()))
    return edits if value >= least else ()


def nothing_proven(names: Sequence[str], runs: int = 16, proofs: int = 4_000) -> dict[str, Any]:
    """How often an edit that does nothing is proven: pairs of healthy runs that differ by their seed alone, drawn at random."""
    found = {}
    for name in names:
        ground = Ground(PROGRAMS[name], PROGRAMS[name].settings)
        held = ground.validation()
        skills = [fresh(ground, (), seed, held) for seed in range(1, 1 + runs)]
        found[name] = [statistics.pstdev(skills), false_share(skills, proofs)]
        print(f"nothing: {name} deviation {found[name][0]:.4f}, proven {found[name][1]:.4f}", file=sys.stderr, flush=True)
    return found


def false_share(skills: Sequence[float], proofs: int) -> float:
    """The share of proofs of nothing that are "proven", where both sides of each pair are drawn from ``skills``."""
    draw = random.Random(0)

    def attempt(edits: Any, seed: int, part: Any, steps: int, stop: Any) -> Training:
        return Training(Skill(draw.choice(skills), 0), (), steps)

    edit = (Edit("clear_gradients"),)
    held = (prove(Work(attempt, 1, lambda spent: 1e9), edit, (), 1) for _ in range(proofs))
    return sum(one.verdict == "proven" for one in held) / proofs


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares and medians over the cases that an edit can cure, and over healthy programs."""
    cases = [row for row in rows if "methods" in row]
    by_edit = [row for row in cases if inverse_of(row)]
    curable = [row for row in by_edit if not nothing_to_repair(row)]
    twins = [row for row in rows if row.get("twin_of") and "why_not" not in row]
    proven = [row for row in curable if row["verdict"] == "proven"]
    result: dict[str, Any] = {
        "cases": len(cases),
        "curable": len(curable),
        "taken_back_by_no_edit": [row["key"] for row in cases if not inverse_of(row)],
        "not_in_the_replay": [row["key"] for row in by_edit if nothing_to_repair(row)],
        "not_run": [f"{row['key']}: {row['why_not']}" for row in rows if "why_not" in row],
        "proven": len(proven),
        "repaired": {name: sum(row["repaired"].get(name, False) for row in curable) for name in METHODS},
        "of": {name: sum(name in row["methods"] for row in curable) for name in METHODS},
        "mean_share_of_twin": {
            name: round(statistics.fmean(shares), 3) if shares else None
            for name in METHODS
            for shares in [[share(row, name) for row in curable if name in row["methods"]]]
        },
        "twins": len(twins),
        "proven_on_twins": sum(row["verdict"] == "proven" for row in twins),
        "called_a_repair_on_twins": sum(row["kind"] == "repair" for row in twins),
    }
    if proven:
        result["median_cost_search"] = statistics.median(row["cost_search"] for row in proven)
        result["median_cost"] = statistics.median(row["cost_search"] + row["cost_proof"] for row in proven)
        result["size_at_most_inverse"] = round(sum(row["size"] <= inverse_of(row) for row in proven) / len(proven), 3)
        result["proven_but_not_better_on_fresh_seeds"] = sum(
            statistics.fmean(row["methods"]["cure"]) <= (row["control"] or 0.0) for row in proven
        )
    return result


def inverse_of(row: dict[str, Any]) -> int:
    """The size of the edits that take the fault back, each the smallest there is; 0 where none takes one of them back."""
    program = row["key"].partition(":")[0]
    sizes = []
    for name in row["operator"].split(" + "):
        kinds = curable_kinds(name, OPERATORS[name].family, program)
        sizes.append(min((EDITS[kind].size for kind in kinds if kind in EDITS), default=0))
    return sum(sizes) if all(sizes) else 0


def nothing_to_repair(row: dict[str, Any]) -> bool:
    """Whether the untouched replay is as good as the twin: the fault does no harm there, or the replay does not hold it."""
    return row["control"] is not None and row["control"] >= ENOUGH * statistics.fmean(row["twin"])


def share(row: dict[str, Any], name: str) -> float:
    """What a method reaches of what the twin does, 0 to 1."""
    twin = statistics.fmean(row["twin"])
    return min(1.0, max(0.0, statistics.fmean(row["methods"][name]) / twin)) if twin > 0.0 else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=("calibration", "held-out", "fresh"), default="calibration")
    parser.add_argument("--limit", type=int, default=30, help="so many cases, spread over the list")
    parser.add_argument("--skip", type=int, default=0, help="so many places further on, for another sample")
    parser.add_argument("--operator", help="cases of operators whose name holds this")
    parser.add_argument("--double", action="store_true", help="two faults at once, of those whose fault an edit takes back")
    parser.add_argument("--curable", action="store_true", help="cases alone whose fault an edit takes back")
    parser.add_argument("--alone", action="store_true", help="without the rivals, which take three quarters of the time")
    parser.add_argument("--twins", type=int, default=6, help="so many healthy programs")
    parser.add_argument("--null", type=int, default=0, help="so many healthy programs for proofs of nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    side = json.loads((RESULTS / "faults_cases.json").read_text("utf-8"))["result"][options.side]
    cases = [case for case in side["cases"] if options.operator is None or options.operator in case["operator"]]
    if options.curable or options.double:
        cases = [case for case in cases if kinds_of(case) and "gan" not in case["program"]]
    whole, wanted = len(cases), min(options.limit, len(cases))
    doubles = pairs(cases, options.limit + options.skip)[options.skip :] if options.double else []
    cases = [] if options.double else [cases[(place * whole // wanted + options.skip) % whole] for place in range(wanted)]
    name = "double" if options.double else options.side
    log = harm.LOG.with_name(f"cure_{name}.jsonl")
    log.parent.mkdir(exist_ok=True)
    done = {} if not log.exists() else {row["key"]: row for row in map(json.loads, log.read_text("utf-8").splitlines())}
    twins = [name for name in side["twins"] if "gan" not in name]
    tasks = [(case["key"], case["program"], [case]) for case in cases]
    tasks += [(f"{a['key']} + {b['operator']}:{b['strength']}", a["program"], [a, b]) for a, b in doubles]
    tasks += [(f"{one}:healthy", one, []) for one in twins[:: max(1, len(twins) // max(1, options.twins))][: options.twins]]
    for count, (key, of, faults) in enumerate(tasks, 1):
        if key not in done:
            done[key] = {"key": key, "twin_of": None if faults else of} | one(of, faults, alone=options.alone)
            with log.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(done[key]) + "\n")
        print(f"{count}/{len(tasks)} {line(done[key])}", file=sys.stderr, flush=True)
    told = figures(list(done.values()))
    if options.null:
        told["proofs_of_nothing"] = nothing_proven(twins[:: max(1, len(twins) // options.null)][: options.null])
    rows = [(name, told["repaired"][name], told["of"][name], told["mean_share_of_twin"][name]) for name in METHODS]
    print(table(rows, ("method", "repaired", "of", "mean share of the twin's skill")))
    print(json.dumps(told, indent=1), machine())
    print(write(f"cure_{name}", {"figures": told, "found": list(done.values())}), file=sys.stderr)


def one(name: str, faults: Sequence[Any], *, alone: bool) -> dict[str, Any]:
    """One case or healthy twin, whatever becomes of it."""
    program = PROGRAMS[name]
    try:
        settings = settings_of(faults) if faults else program.settings
        assert settings is not None
        operator = " + ".join(fault["operator"] for fault in faults) or None
        return {"operator": operator} | examined(program, settings, twin=not faults, alone=alone)
    except (LookupError, IsogradError, RuntimeError) as error:
        return {"why_not": f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"}


def line(row: dict[str, Any]) -> str:
    """One case in a line."""
    if "why_not" in row:
        return f"-  {row['key']}: {row['why_not']}"
    edits = ", ".join(f"{kind} {value}" for kind, value in row["edits"])
    cost = f"{row['cost_search']:.1f} + {row['cost_proof']:.1f} runs, {row['seconds']} s"
    if "methods" not in row:
        return f"{'NO' if row['kind'] == 'repair' else 'ok'} {row['key']}: {row['kind']} {row['verdict']} {edits} [{cost}]"
    means = " ".join(f"{name} {statistics.fmean(values):.2f}" for name, values in row["methods"].items())
    mark = "ok" if row["repaired"]["cure"] else "NO" if inverse_of(row) else "  "
    return f"{mark} {row['key']}: {row['verdict']} {edits} [{cost}] twin {statistics.fmean(row['twin']):.2f} {means}"


if __name__ == "__main__":
    main()
