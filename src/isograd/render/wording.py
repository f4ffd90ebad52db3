"""Numbers as a person reads them: rounded to what they are worth, with their unit."""

from __future__ import annotations

import math
import re

from isograd.records.report import Learned
from isograd.render.markup import plain


def number(value: float | None, digits: int = 3) -> str:
    """A number in ``digits`` significant digits.

    >>> number(0.98123), number(2.41e-18), number(11400), number(float("nan")), number(None)
    ('0.981', '2.41e-18', '11,400', 'NaN', '–')
    """
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "infinite" if value > 0 else "−infinite"
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}".replace("-", "−")
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -4 <= power < 6:
        text = f"{float(f'{value:.{digits - 1}e}'):,.{max(0, digits - 1 - power)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text and abs(value) < 1e-3 else text
    else:
        text = f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{power}"
    return "−" + text[1:] if text.startswith("-") else text


def share(value: float) -> str:
    """A figure between 0 and 1 for a column of such figures.

    >>> share(1.0), share(0.97301), share(float("nan"))
    ('1.000', '0.973', 'NaN')
    """
    return f"{value:.3f}" if math.isfinite(value) else number(value)


def interval(value: float, low: float, high: float) -> str:
    """A figure with its interval, all three rounded to what the interval's width is worth.

    >>> interval(0.98123, 0.9761, 0.9862), interval(18412.3, 17105.0, 19921.0)
    ('0.981 (0.976 to 0.986)', '18,400 (17,100 to 19,900)')
    """
    width = high - low
    if not math.isfinite(width) or not math.isfinite(value) or width <= 0:
        return f"{number(value)} ({number(low)} to {number(high)})"
    decimals = 1 - math.floor(math.log10(width))
    value, low, high = (round(each, decimals) for each in (value, low, high))
    return "{} ({} to {})".format(*(f"{each:,.{max(decimals, 0)}f}".replace("-", "−") for each in (value, low, high)))


def count(amount: int, noun: str, plural: str = "") -> str:
    """An amount with its noun.

    >>> count(1, "epoch"), count(11400, "row"), count(2, "class", "classes")
    ('1 epoch', '11,400 rows', '2 classes')
    """
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def percent(share: float | None) -> str:
    """A share as a percentage.

    >>> percent(0.0062), percent(0.973), percent(0.0), percent(1e-7), percent(0.9999)
    ('0.62 %', '97 %', '0 %', 'below 0.01 %', '99.99 %')
    """
    if share is None or not math.isfinite(share):
        return number(share)
    if 0 < share < 1e-4:
        return "below 0.01 %"
    if 0.99 < share < 1:
        return f"{min(share * 100, 99.99):.4g} %"
    return f"{share * 100:.2g} %" if share < 0.995 else f"{share * 100:.0f} %"


def duration(seconds: float) -> str:
    """A span of time.

    >>> duration(0.42), duration(12.3), duration(72), duration(7500)
    ('0.42 s', '12 s', '1 min 12 s', '2 h 5 min')
    """
    if not math.isfinite(seconds) or seconds < 10:
        return f"{number(seconds, 2)} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def moment(stamp: str) -> str:
    """A time stamp without what nobody reads.

    >>> moment("2026-01-01T10:00:41.25Z"), moment("2026-01-01T10:00:41+02:00"), moment("yesterday")
    ('2026-01-01 10:00 UTC', '2026-01-01 10:00 +02:00', 'yesterday')
    """
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::[\d.]+)?(Z|[+-]\d\d:\d\d)?", stamp)
    if not found:
        return stamp
    day, clock, zone = found.groups()
    return " ".join(filter(None, (day, clock, "UTC" if zone in ("Z", "+00:00") else zone)))


def fold(log_ratio: float) -> str:
    """How many times something changed, of the natural logarithm of the ratio (its sign does not matter).

    >>> import math
    >>> fold(math.log(612)), fold(-math.log(2.5)), fold(17 * math.log(10))
    ('610-fold', '2.5-fold', 'by 17 orders of magnitude')
    """
    decades = abs(log_ratio) / math.log(10)
    if decades >= 5:
        return f"by {decades:.0f} orders of magnitude"
    return f"{float(f'{10**decades:.2g}'):,g}-fold"


def metric_name(key: str) -> str:
    """A metric as a person writes it.

    >>> metric_name("r2"), metric_name("log_loss")
    ('R²', 'log loss')
    """
    return {"mae": "MAE", "rmse": "RMSE", "mse": "MSE", "r2": "R²", "f1": "F1", "auc": "AUC", "ece": "ECE"}.get(
        key, plain(key.replace("_", " "))
    )


def listed(items: list[str], most: int = 5) -> str:
    """Items as a phrase, the rest counted.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], most=1)
    ('a, b and c', 'a and 2 more')
    """
    if len(items) > most:
        return f"{', '.join(items[:most])} and {len(items) - most:,} more"
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def learned(found: Learned) -> str:
    """What came of a training, in words.

    >>> learned(Learned(0.021, 0.004)), learned(Learned(-0.5, 0.1, falling=True))[:44]
    ('answers are 2 % of the way from the best constant answer to perfect ones', 'answers are worse than the best constant ans')
    >>> learned(Learned(1.3, 0.1))
    'the loss is below what perfect answers would pay: it is not the loss that it seems to be'
    """
    if found.skill + 2.0 * found.error < 0.0:
        text = "answers are worse than the best constant answer"
    elif found.skill - 2.0 * found.error > 1.0:
        text = "the loss is below what perfect answers would pay: it is not the loss that it seems to be"
    else:
        share = max(0.0, found.skill)
        text = f"answers are {100 * share:.0f} % of the way from the best constant answer to perfect ones"
    return text + (f"; the loss {'was' if found.over else 'is'} still falling" if found.falling else "")
