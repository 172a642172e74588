"""`graphattn datasets list`, `show` and `fetch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from graphattn.cli import options
from graphattn.cli.command import Command
from graphattn.cli.screen import Screen

if TYPE_CHECKING:
    from graphattn.data import Card

app = typer.Typer(
    help="The catalogue of public data sets that --dataset takes.",
    epilog=options.example("graphattn datasets list"),
)

Name = Annotated[str, typer.Argument(help="Name of a data set, as in `graphattn datasets list`.", show_default=False)]


@app.command("list", cls=Command, epilog=options.example("graphattn datasets list"))
def list_(debug: options.Debug = False) -> None:
    """List the data sets: name, job, size, where the data is now; title and licence."""
    with Screen(debug=debug):
        from graphattn.data import card_names, load_card

        console = Console(highlight=False)
        for name in card_names():
            card = load_card(name)
            size = ", ".join(f"{card.counts[kind]:,} {kind}" for kind in ("molecules", "nodes", "edges") if kind in card.counts)
            console.print(f"[bold]{name:20}[/] {card.job:10} {size:28} {_where(card)}", soft_wrap=True)
            console.print(f"  {card.title}; {card.licence}", style="dim", markup=False, soft_wrap=True)


@app.command(cls=Command, epilog=options.example("graphattn datasets show karate"))
def show(name: Name, debug: options.Debug = False) -> None:
    """Show all that is known of a data set."""
    with Screen(debug=debug):
        from graphattn.data import load_card

        card = load_card(name)
        units = f", in {card.label['units']}" if card.label.get("units") else ""
        classes = f": {', '.join(map(str, card.label['classes']))}" if card.label.get("classes") else ""
        rows = {
            "job": f"{card.job}, {card.task}",
            "what": card.description,
            "label": f"{card.label['name']}{units}{classes}",
            "size": ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in card.counts.items()),
            "columns": ", ".join(f"{role}: {column}" for role, column in card.columns.items()),
            "split": str((card.split or {}).get("about", "none standard")),
            "notes": card.notes,
            "files": "\n".join(f"{file.name} ({file.bytes:,} bytes)" for file in card.files),
            "where": _where(card),
            "home": card.home,
            "licence": card.licence,
            "cite": card.cite,
        }
        table = Table(box=None, show_header=False, pad_edge=False, title=f"{name}: {card.title}", title_justify="left")
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for key, text in rows.items():
            if text:
                table.add_row(key, text)
        Console(highlight=False).print(table)


@app.command(cls=Command, epilog=options.example("graphattn datasets fetch freesolv"))
def fetch(name: Name, quiet: options.Quiet = False, debug: options.Debug = False) -> None:
    """Download a data set to the user's cache, check it, and print its folder."""
    with Screen(quiet, debug) as screen:
        from graphattn.data import fetch as fetch_dataset

        with screen.bytes() as report:
            folder = fetch_dataset(name, progress=report)
        typer.echo(folder)


def _where(card: Card) -> str:
    """Where the data is now, in a word or two."""
    from graphattn.cache import user_cache
    from graphattn.data import local_folder

    if card.source == "package":
        return "packaged"
    folder = local_folder(card.name)
    if folder is None:
        return "to fetch" if all(file.url for file in card.required_files) else "by hand"
    return "cached" if folder.is_relative_to(user_cache()) else "GRAPHATTN_DATA"
