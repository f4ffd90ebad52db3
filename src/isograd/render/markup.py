"""Build HTML so that escaping is the rule: text is escaped unless it is markup already."""

from __future__ import annotations

import html
import unicodedata

_VOID = frozenset({"br", "img", "link", "meta"})
_RIGHT_TO_LEFT = frozenset({"R", "AL", "RLE", "RLO", "RLI", "LRE", "LRO", "LRI", "PDF", "PDI", "FSI"})


class Markup(str):
    """Text that is HTML already and is taken as it is."""

    __slots__ = ()


def escape(text: str) -> Markup:
    """Any text as HTML: markup as it is, everything else escaped; what no page may hold becomes U+FFFD.

    >>> escape('<b> & "c"')
    '&lt;b&gt; &amp; &quot;c&quot;'
    """
    if isinstance(text, Markup):
        return text
    return Markup(html.escape("".join(map(_allowed, text)) if not text.isprintable() else text))


def _allowed(letter: str) -> str:
    return "\ufffd" if unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t" else letter


def join(*parts: str) -> Markup:
    """The parts one after the other, each escaped."""
    return Markup("".join(escape(part) for part in parts))


def el(tag: str, *children: str, **attributes: str | int | float | bool | None) -> Markup:
    """One element; ``class_`` is class and ``aria_label`` aria-label; None and False leave an attribute out.

    >>> el("td", "<1", class_="number", title=None)
    '<td class="number">&lt;1</td>'
    """
    written = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        key = name.rstrip("_").replace("_", "-")
        written.append(key if value is True else f'{key}="{escape(str(value))}"')
    opening = f"<{' '.join(written)}>"
    return Markup(opening) if tag in _VOID else Markup(f"{opening}{join(*children)}</{tag}>")


def name(text: str, limit: int = 60) -> Markup:
    """A name that somebody else chose: clipped, escaped, and kept from turning the text around it (right-to-left)."""
    return el("bdi", clip(text, limit), title=text[:500] if len(text) > limit else None)


def plain(text: str, limit: int = 60) -> str:
    """``name`` for places that take no elements: an attribute, a title, a sentence; right-to-left text is isolated."""
    short = clip(text, limit)
    turns = any(unicodedata.bidirectional(letter) in _RIGHT_TO_LEFT for letter in short)
    return f"\u2068{short}\u2069" if turns else short


def clip(text: str, limit: int) -> str:
    """At most ``limit`` characters, the last one an ellipsis where something was cut.

    >>> clip("gradient", 5)
    'grad…'
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"
