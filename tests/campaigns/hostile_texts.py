"""Texts that try to get out of where they are shown, and commands that are given them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
from dataclasses import dataclass

import numpy as np

from animus3d_cli import main as program

FLAG = "pwned"
"""The global name that scripts in the texts set."""

_RUN = f"window.{FLAG}=1"
PIECES = (
    f"</script><script>{_RUN}</script>",
    f"<script>{_RUN}</script>",
    f'<img src=x onerror="{_RUN}">',
    f"<svg/onload={_RUN}>",
    f'"><svg onload={_RUN}>',
    f"' autofocus onfocus='{_RUN}",
    f'" onmouseover="{_RUN}" style="position:fixed;inset:0',
    f"</title></style></textarea></noscript><script>{_RUN}</script>",
    f"--></svg><iframe srcdoc='<script>parent.{FLAG}=1</script>'>",
    "<!--<script>",
    f"javascript:{_RUN}",
    f"`${{{_RUN}}}`",
    f"'+({_RUN})+'",
    f"\\u003c/script\\u003e\\u003cscript\\u003e{_RUN}",
    f"&lt;script&gt;{_RUN}&#60;/script&#62;&amp;quot;",
    f"[here](javascript:{_RUN}) ![x](x 'onerror')",
    "{{TITLE}} {{PAYLOAD}} {{ENGINE}}",
    "{{ 7 * 7 }}{% raw %}{# no #}",
    "__proto__ constructor ]]><![CDATA[ =cmd|' /C calc'!A0 ../../../../etc/passwd '\"\\",
    "\u202ethgir ot tfel\u202d \u2067\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\udcff\udc80 \ud83d and \ude00 \ufffe\uffff\U0010ffff \U0001f98a\U0001f468\u200d\U0001f469\u0301\u0301",
    "\u2028\u2029\u0085\ufeff\u200b",
    "a\0b",
    "\x01\x07\x1b[31mred\x1b[0m\x7f",
    "two\r\nlines\tand a tab",
    "x" * 10_000,
    "<" * 10_000,
    "\u0301" * 10_000,
    " " * 10_000 + "end",
    "",
)


def texts(count: int, seed: int) -> list[str]:
    """Every piece once, then two or three of them together at random."""
    rng = np.random.default_rng(seed)
    mixed = (" ".join(PIECES[i] for i in rng.integers(len(PIECES), size=rng.integers(2, 4))) for _ in range(count))
    return [*PIECES, *mixed][:count]


def as_name(text: str, most: int = 180) -> str:
    """``text`` as the name of a file, in which some bytes may be no UTF-8; what no name can hold is left out."""
    kept = re.sub(r"[/\0\ud800-\udc7f\udd00-\udfff]", "", text)
    name = os.fsdecode(os.fsencode(kept)[:most])
    return name if name.strip(". ") else f"nothing{len(text)}"


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said to a terminal that takes UTF-8 and nothing else."""

    code: int
    out: str
    err: str

    @property
    def refused(self) -> bool:
        """Whether it said in one line what is wrong, with one of its own exit codes."""
        return 2 <= self.code <= 11 and "Traceback" not in self.err and 0 < self.err.strip().count("\n") + 1 <= 8


def command(*words: object) -> Said:
    """``animus3d WORDS`` in this process; an exception that nobody catches is exit code 1, as Python has it."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors=how) for how in ("strict", "backslashreplace"))
    argv, handler, code = sys.argv, signal.getsignal(signal.SIGTERM), 0
    sys.argv = ["animus3d", *map(str, words)]
    trouble = ""
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                program.main()
            except SystemExit as ended:
                code = int(ended.code or 0)
            except Exception as error:
                code, trouble = 1, f"Traceback: {type(error).__name__}: {error!s:.300}"
    finally:
        sys.argv = argv
        signal.signal(signal.SIGTERM, handler)
    said = []
    for stream in (out, err):
        stream.flush()
        said.append(stream.buffer.getvalue().decode("utf-8", "replace"))  # type: ignore[attr-defined]
    return Said(code, said[0], said[1] + trouble)


def visible(text: str) -> str:
    """What has to be seen of ``text``: without white space, and without what no page can hold."""
    return re.sub(r"[\s\0-\x1f\x7f-\x9f\ud800-\udfff\ufffd\ufeff\u200b]", "", text)
