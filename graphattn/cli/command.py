"""How commands take their options."""

from __future__ import annotations

import typer
from typer.core import TyperCommand


class Command(TyperCommand):
    """A command whose options with one value may stand once: of two values the parser would take the last, and say nothing."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        seen: set[str] = set()
        for param in self.make_parser(ctx).parse_args(args=list(args))[2]:
            single = param.param_type_name == "option" and not param.multiple and not getattr(param, "is_flag", False)
            if single and str(param.name) in seen:
                raise typer.BadParameter("given twice; expected one value", ctx=ctx, param=param)  # type: ignore[arg-type]
            seen.add(str(param.name))
        return super().parse_args(ctx, args)
