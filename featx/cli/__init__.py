"""The command line: parse, call one public function, print.

`main` begins with what must not wait for an import. Nothing heavy is imported before a command runs, so that help
answers at once.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from featx.system.lazy import lazy

if TYPE_CHECKING:
    from featx.cli._group import cli

__all__ = ["cli", "main"]

__getattr__, __dir__ = lazy(__name__, {"cli": "featx.cli._group"})


def main() -> None:
    """Run the command line; exit status 0 all done, 1 something failed, 2 wrong usage, 130 interrupted."""
    try:
        from featx.system import interrupts, streams, terminal

        interrupts.stop_on_interrupt()
        streams.open_standard()
        sys.excepthook = terminal.tell_traceback
        from featx.cli._group import run

        status = run()
        interrupts.ignore()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        status = 130
    sys.exit(status)
