"""The README's picture of a terminal, from what the commands print.

python -m docs.terminal > docs/terminal.svg
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

COMMANDS = (
    'cmsearch query "crushing chest pain radiating to the left arm" -k 5',
    'cmsearch query "water on the lung" -k 4',
    'cmsearch query "green sickness" -k 3',
    'cmsearch query "sprained right ankle, follow-up visit" -k 3',
)
WIDTH = 100


def picture() -> str:
    """Return the commands and their output as SVG, without fonts from elsewhere."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    surroundings = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH)}
    for command in COMMANDS:
        shown = subprocess.run(
            shlex.split(command), env=surroundings, capture_output=True, text=True, check=True
        ).stdout
        console.print(Text.assemble(("$ ", "green"), (command, "bold")))
        console.print(Text.from_ansi(shown))
    plain = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="cmsearch", code_format=plain)


if __name__ == "__main__":
    print(picture())
