"""Triton's interpreter without what it does again and again."""

from __future__ import annotations

from typing import Any


def quicken_interpreter() -> None:
    """Each part leaves what kernels compute as it is; without one, as with another version of Triton, tests are only slower."""
    for part in (_patch_modules_once_a_launch, _remember_types_of_blocks, _remember_types_of_numpy):
        try:
            part()
        except (ImportError, AttributeError):
            continue


def _patch_modules_once_a_launch() -> None:
    """Puts the interpreter's operations in the place of Triton's once a launch for each module.

    Triton does so at every call of a function that is not the kernel itself, which takes longer than the function does, and
    from the second call on finds it done.
    """
    from triton.runtime import interpreter

    launch, patch = interpreter.GridExecutor.__call__, interpreter._patch_lang
    function_of, error_of = interpreter.InterpretedFunction, interpreter.InterpreterError
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


def _remember_types_of_blocks() -> None:
    """Every result of an operation is a new tensor of a new type, whose shape is checked, counted and written out as text.

    A type that was made before is a copy of the first, and a tensor has the shape of the first tensor of its type.
    """
    from triton.language import core

    new_type, new_tensor = core.block_type.__init__, core.tensor.__init__
    types: dict[Any, dict[str, Any]] = {}
    tensors: dict[Any, dict[str, Any]] = {}

    def make_type(self: Any, element_ty: Any, shape: Any) -> None:
        key = type(element_ty), element_ty.name, *[getattr(size, "value", size) for size in shape]
        if key not in types:
            new_type(self, element_ty, shape)
            types[key] = {name: value for name, value in vars(self).items() if name != "element_ty"}
        self.__dict__.update(types[key], element_ty=element_ty)

    def make_tensor(self: Any, handle: Any, type: Any) -> None:
        key = type.__class__, type.name
        if key not in tensors:
            new_tensor(self, handle, type)
            tensors[key] = {name: value for name, value in vars(self).items() if name not in ("handle", "type", "dtype")}
        self.__dict__.update(tensors[key], handle=handle, type=type, dtype=type.scalar)

    core.block_type.__init__, core.tensor.__init__ = make_type, make_tensor


def _remember_types_of_numpy() -> None:
    """Of a Triton type: the interpreter makes a table of all types whenever it asks for one."""
    from triton.runtime import interpreter

    look_up = interpreter._get_np_dtype
    known: dict[Any, Any] = {}

    def remember(tt_dtype: Any) -> Any:
        key = tt_dtype.__class__, tt_dtype.name
        if key not in known:
            known[key] = look_up(tt_dtype)
        return known[key]

    interpreter._get_np_dtype = remember
