"""Writes the command reference from the commands themselves: python -m docs.reference."""

from __future__ import annotations

from typing import Any

import typer.main

from cmsearch.cli.app import app


def reference() -> str:
    """Return docs/cli.md."""
    lines = ["# Commands", "", "Made by `make docs` from the commands' own help.", ""]
    root = typer.main.get_command(app)
    for name, command in _commands(root, "cmsearch"):
        lines += [f"## {name}", "", (command.help or "").strip().replace("\n\n    ", "\n\n"), ""]
        context = command.context_class(command, info_name=name)
        lines += ["```", command.get_usage(context).removeprefix("Usage: "), "```", ""]
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.hidden:
                names = ", ".join([*parameter.opts, *parameter.secondary_opts])
                lines.append(f"- `{names}`: {parameter.help or ''}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _commands(command: Any, name: str) -> list[tuple[str, Any]]:
    # Newer Typers bring their own copy of click, whose classes are not click's.
    if not hasattr(command, "commands"):
        return [(name, command)]
    return [
        found
        for child in sorted(command.commands)
        for found in _commands(command.commands[child], f"{name} {child}")
    ]


if __name__ == "__main__":
    print(reference(), end="")
