"""Writes the command reference from the commands themselves: python -m docs.reference."""

from __future__ import annotations

import typer.main
from click import Command, Context, Group, Option

from cmsearch.cli.app import app


def reference() -> str:
    """Return docs/cli.md."""
    lines = ["# Commands", "", "Made by `make docs` from the commands' own help.", ""]
    root = typer.main.get_command(app)
    for name, command in _commands(root, "cmsearch"):
        lines += [f"## {name}", "", (command.help or "").strip().replace("\n\n    ", "\n\n"), ""]
        context = Context(command, info_name=name)
        lines += ["```", command.get_usage(context).removeprefix("Usage: "), "```", ""]
        for parameter in command.params:
            if isinstance(parameter, Option) and not parameter.hidden:
                names = ", ".join([*parameter.opts, *parameter.secondary_opts])
                lines.append(f"- `{names}`: {parameter.help or ''}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _commands(command: Command, name: str) -> list[tuple[str, Command]]:
    if not isinstance(command, Group):
        return [(name, command)]
    return [
        found
        for child in sorted(command.commands)
        for found in _commands(command.commands[child], f"{name} {child}")
    ]


if __name__ == "__main__":
    print(reference(), end="")
