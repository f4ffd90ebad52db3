"""A forecast in words: how likely the run is to fail, the answer, when more can be told, and what speaks for it."""

from __future__ import annotations

from isograd.records.forecast import Basis, Forecast
from isograd.render.markup import Markup, el
from isograd.render.parts import section, table
from isograd.render.wording import percent

KNOWN: dict[Basis, str] = {
    "theory": "the architecture alone",
    "step": "one batch and the first step",
    "probe": "one batch, the first step and the thin probe",
    "look 2 %": "the first 2 % of the run",
    "look 12 %": "the first 12 % of the run",
    "look 25 %": "the first quarter of the run",
}


def chance(probability: float) -> str:
    """A probability of failure, never closer to certainty than it was calibrated.

    >>> chance(0.999), chance(0.62), chance(0.001)
    ('over 99 %', '62 %', 'under 1 %')
    """
    return "over 99 %" if probability > 0.99 else "under 1 %" if probability < 0.01 else percent(probability)


def gist(forecast: Forecast) -> str:
    """One line: probability, what it means, what is assumed.

    >>> gist(Forecast(0.62, 0.5, "uncertain", "step", 20))
    'fails with 62 %: uncertain, look again at step 20'
    """
    again = f", look again at step {forecast.look_again:,}" if forecast.look_again is not None else ""
    return f"fails with {chance(forecast.probability)}: {forecast.answer}{again if forecast.answer == 'uncertain' else ''}"


def meaning(forecast: Forecast) -> str:
    """What "fails" means, what was known, and which base rate is assumed."""
    return (
        f"from {KNOWN[forecast.basis]}; to fail is to end below 0.75 of what a good setting of this length reaches; "
        f"assumed that {percent(forecast.base_rate)} of such trainings do"
        + (f", and that the run has {forecast.assumed:,} steps (steps= tells)" if forecast.assumed is not None else "")
    )


def reasons(forecast: Forecast, most: int = 3) -> list[str]:
    """The weightiest signs, each with the side that it speaks for."""
    return [f"speaks {'against' if one.weight > 0.0 else 'for'} success: {one.text}" for one in forecast.reasons[:most]]


def forecast_section(forecast: Forecast | None) -> Markup:
    """The forecast as a part of a page; nothing where there is none."""
    if forecast is None:
        return Markup("")
    rows = [[one.text, "fails" if one.weight > 0.0 else "trains", f"{abs(one.weight):.1f}"] for one in forecast.reasons]
    told = table("What weighs most", ("sign", "speaks for a run that", "nats of log odds"), rows, text=2)
    return section("Foretold", f"The run {gist(forecast)}.", el("p", meaning(forecast) + "."), told, anchor="foretold")
