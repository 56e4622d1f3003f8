"""What a corporate action does to the number of shares, from the exchange's free text.

The texts were typed by people for thirty years, many of them cut after 25 characters: `BON 1:2/SPLIT RS.10TORS.2`,
`FVSPLT FRM RS 10 TO RS 2`, `Face Value Split (Sub-Division) - From Rs 10/- Per Share To Re 1/- Per Share`. Between a
word and its numbers only words that belong to them may stand, so that no other clause's numbers are read. Nothing is
guessed: a split or a bonus without numbers, or with numbers that contradict the word, has its kind and no factor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_RUPEES = r"(?:R[SE]|INR|₹)?[\s.]*(\d+(?:\.\d+)?)"
_FILLER = (
    r"(?:[\s\-:.,()]|FROM|FRM|FR|SUB|DIVISION|DIV|FACE|VALUE|FV|STOCK|OF|THE|IN|RATIO|ISSUE|FULLY|PAID|UP|"
    r"EQUITY|EQ|SHARES?|SHS?)*"
)
_PER_SHARE = r"[\s/\-]*(?:PER|PR|P)?\s*(?:EQUITY\s*)?(?:SHARES?|SHR?S?)?\s*(?:EACH)?[\s\-]*"
_FROM_TO = re.compile(rf"{_FILLER}{_RUPEES}{_PER_SHARE}TO\s*{_RUPEES}")
_RANGE = re.compile(r"[\s\-:.]*R[SE][\s.]*(\d+(?:\.\d+)?)[\s/]*-\s*R[SE][\s.]*(\d+(?:\.\d+)?)")
"""As in `SPL RS10-RS2`."""

_SPLIT = re.compile(r"SPLI?T(?!TING|TED)|SP?T(?=\s*\d)|F\.?\s?V\.?\s?S(?:PL)?(?![A-Z])|SUB\s*-?\s*DIV(?:ISION|N)?")
_SPL = re.compile(r"(?<![A-Z])SPL(?![A-Z])")
"""A split where two amounts follow, else a special dividend."""
_CONSOLIDATION = re.compile(r"CO?NSO?LI?DA?T[A-Z]*|(?<![A-Z])CONSOL(?![A-Z])|REVERSE\s+SPLI?T")
_BONUS = re.compile(r"(?<![A-Z])BON(?:US)?(?![A-Z])")
_RATIO = re.compile(rf"{_FILLER}(\d+)\s*:\s*(\d+)(?!\d|\s*(?:DVR|NCRP|NCD|DEB|PREF|CCPS|WARR|OCD|RPS))")
_OTHER_PAPER = re.compile(r"DEB|NC?RPS|NCD|PREF|CCPS|WARR|DVR|OCD|RPS|BOND")
"""A bonus of these leaves the number of shares as it was."""
_RIGHTS = re.compile(r"(?<![A-Z])(?:RIGHTS?|RI?GHTS?|RHTS?|RGTS?|RH(?=\s*\d))")
_DIVIDEND = re.compile(r"(?<!SUB )(?<!SUB-)(?<!SUB)DIV(?!ISION)|(?<![A-Z])S?P?DV(?![A-Z])")


@dataclass(frozen=True, slots=True)
class Meaning:
    """`kind` as in the contract of `actions`; factors are shares after for one share before, null where not told."""

    kind: str
    split_factor: float | None = None
    bonus_factor: float | None = None


def meaning_of(purpose: str) -> Meaning:
    """What a purpose says.

    A bonus A:B gives A new shares for B held, which makes 1 + A/B of one; a split of the face value from A to B makes
    A/B of one.
    """
    text = " ".join(purpose.upper().split())
    split, split_factor = _split(text)
    bonus, bonus_factor = _bonus(text)
    if split and bonus:
        return Meaning("split and bonus", split_factor, bonus_factor)
    if split or bonus:
        return Meaning(split or "bonus", split_factor, bonus_factor)
    if _RIGHTS.search(text):
        return Meaning("rights")
    return Meaning("dividend" if _DIVIDEND.search(text) else "other")


def _split(text: str) -> tuple[str | None, float | None]:
    """Kind and factor of a split or a consolidation; no kind where the text is of neither."""
    if word := _CONSOLIDATION.search(text):
        return "consolidation", _factor(_FROM_TO.match(text, word.end()), grows=False)
    for word in _SPLIT.finditer(text):
        if numbers := _FROM_TO.match(text, word.end()) or _RANGE.match(text, word.end()):
            return "split", _factor(numbers, grows=True)
    for word in _SPL.finditer(text):
        if numbers := _FROM_TO.match(text, word.end()) or _RANGE.match(text, word.end()):
            return "split", _factor(numbers, grows=True)
    return ("split", None) if _SPLIT.search(text) else (None, None)


def _factor(numbers: re.Match[str] | None, *, grows: bool) -> float | None:
    if numbers is None:
        return None
    before, after = float(numbers[1]), float(numbers[2])
    if before == after or not after or (before > after) != grows:
        return None
    return round(before / after, 9)


def _bonus(text: str) -> tuple[bool, float | None]:
    """Whether shares are given, and how many there are then for one."""
    found = False
    for word in _BONUS.finditer(text):
        if numbers := _RATIO.match(text, word.end()):
            new, held = int(numbers[1]), int(numbers[2])
            return True, 1 + new / held if new and held else None
        clause = re.split(r"/(?!-)|\bAND\b|\+", text[word.end() :], maxsplit=1)[0]
        found = found or not _OTHER_PAPER.search(clause)
    return found, None
