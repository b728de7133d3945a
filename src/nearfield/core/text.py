"""Text out of a file or a store made safe for a terminal: what would steer it is written as an escape.

Control characters move the cursor, hide lines or type for the user; those for the direction of writing show text in
another order than it has; line and paragraph separators break a line of results.
"""

from __future__ import annotations

import re

# C0 and DEL, C1, line and paragraph separators, marks and overrides of direction, the BOM, and lone surrogates.
_STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def safe(text: str, keep: str = "") -> str:
    r"""Text with every character that would steer a terminal as an escape (``\x1b``, ``\u202e``), but for ``keep``.

    Use it on whatever is printed that a file, a store or a user gave; ``keep="\n\t"`` leaves lines and tabs.

    >>> safe("red\x1b[31m\n")
    'red\\x1b[31m\\n'
    """
    return _STEERING.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def safe_json(text: str) -> str:
    r"""JSON text with the same characters as ``\uXXXX``: the same values, and nothing that steers a terminal.

    >>> safe_json('["\x7f"]')
    '["\\u007f"]'
    """
    return _STEERING.sub(lambda found: found[0] if found[0] in "\n\r\t" else f"\\u{ord(found[0]):04x}", text)


def _escape(character: str) -> str:
    short = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(character)
    if short:
        return short
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
