"""Triton's interpreter without what it does again and again."""

from __future__ import annotations

from typing import Any


def quicken_interpreter() -> None:
    """Puts the interpreter's operations in the place of Triton's once a launch for each module.

    Triton does so at every call of a function that is not the kernel itself, which takes longer than the function does, and
    from the second call on finds it done.
    """
    try:
        from triton.runtime import interpreter

        launch, patch = interpreter.GridExecutor.__call__, interpreter._patch_lang
        function_of, error_of = interpreter.InterpretedFunction, interpreter.InterpreterError
    except (ImportError, AttributeError):  # no Triton, or another version's interpreter: it is only slower
        return
    patched: set[int] = set()

    def launch_anew(self: Any, *args: Any, **kwargs: Any) -> Any:
        patched.clear()
        return launch(self, *args, **kwargs)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if id(self.fn.__globals__) not in patched:
            patched.add(id(self.fn.__globals__))
            patch(self.fn)
        try:
            return self.rewrite()(*args, **kwargs)
        except Exception as error:
            raise error_of(repr(error)) from error

    interpreter.GridExecutor.__call__, function_of.__call__ = launch_anew, call
