"""SIMD vectors for numba: a value type <n × float32> or <n × float64>, and the few operations that the kernels need.

Numba compiles scalar Python and leaves vectors to LLVM's auto-vectoriser, which does not see that a row of eight heads by
eight channels is four AVX-512 registers, summed head by head. LLVM's own language has vectors of any length as values, and
its code generator maps them to whatever registers the machine has (AVX-512, AVX2, NEON …). So this file makes LLVM's vector
a numba type, `Vector`, and each operation an *intrinsic*: a Python function that, while numba compiles its caller, writes
the LLVM instructions for it. An intrinsic has two parts: the typing (which types it takes and gives), and `generate`, which
gets an LLVM instruction builder `b` and the argument values `a`.

Rules that hold everywhere:

* lengths and storage types are literals (globals of the kernel's module), so that they are known while compiling;
* arithmetic is done in float32 or float64. "bfloat16" is a storage type: two bytes in memory, float32 in a register;
* addresses are integers, and nothing checks bounds: indices are validated when a mask is built;
* floating-point flags are set per instruction. Only `contract` (a·b + c as one fused operation) is allowed. With numba's
  `fastmath=True` LLVM would also assume that nothing is ever NaN, and rewrite the rounding trick of `exp` (10 % off).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

_CONTRACT = ("contract",)
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_ELEMENT = {types.float32: ir.FloatType(), types.float64: ir.DoubleType(), types.int64: _I64}
_COMPUTE = {"float32": types.float32, "float64": types.float64, "bfloat16": types.float32}


class Vector(types.Type):
    """The numba type of <length × element>."""

    def __init__(self, length: int, element: Any) -> None:
        self.length, self.element = length, element
        super().__init__(name=f"Vector({length}, {element})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, ir.VectorType(_ELEMENT[vector.element], vector.length))


def _constant(vector: Any, value: float) -> Any:
    return ir.Constant(vector, [ir.Constant(vector.element, value)] * vector.count)


def _shuffle(b: Any, first: Any, second: Any, lanes: Any) -> Any:
    """The lanes picked from `first` followed by `second`, as one new vector."""
    lanes = list(lanes)
    return b.shuffle_vector(first, second, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))


def _splat(b: Any, scalar: Any, length: int) -> Any:
    vector = ir.VectorType(scalar.type, length)
    undefined = ir.Constant(vector, ir.Undefined)
    return _shuffle(b, b.insert_element(undefined, scalar, _I32(0)), undefined, [0] * length)


def _pointer(b: Any, address: Any, target: Any) -> Any:
    return b.inttoptr(address, target.as_pointer())


def _maximum(b: Any, x: Any, y: Any) -> Any:
    return b.select(b.fcmp_ordered(">", x, y), x, y)


def _fence(b: Any, value: Any) -> Any:
    """The same value, which LLVM must have computed as it is written before anything is made of it."""
    name = f"llvm.arithmetic.fence.v{value.type.count}f{64 if isinstance(value.type.element, ir.DoubleType) else 32}"
    return b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(value.type, [value.type]), name), [value])


def _multiply_add(b: Any, x: Any, y: Any, z: Any) -> Any:
    return b.fadd(b.fmul(x, y, flags=_CONTRACT), z, flags=_CONTRACT)


# ---------------------------------------------------------------------------------------------------- memory


@intrinsic(prefer_literal=True)
def load(context: Any, address: Any, length: Any, storage: Any) -> Any:
    """`length` numbers of type `storage` ("float32", "float64", "bfloat16") from an address."""
    vector = Vector(length.literal_value, _COMPUTE[storage.literal_value])

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        result = ctx.get_value_type(vector)
        if storage.literal_value != "bfloat16":
            return b.load(_pointer(b, a[0], result), align=4)
        # bfloat16 is the upper half of a float32.
        half = b.load(_pointer(b, a[0], ir.VectorType(ir.IntType(16), vector.length)), align=2)
        words = ir.VectorType(_I32, vector.length)
        return b.bitcast(b.shl(b.zext(half, words), _constant(words, 16)), result)

    return vector(address, length, storage), generate


@intrinsic(prefer_literal=True)
def store(context: Any, address: Any, vector: Any, storage: Any) -> Any:
    """Writes a vector to an address as type `storage`; bfloat16 is rounded to the nearest, ties to even."""

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        value = a[1]
        if storage.literal_value != "bfloat16":
            b.store(value, _pointer(b, a[0], value.type), align=4)
            return ctx.get_dummy_value()
        words = ir.VectorType(_I32, vector.length)
        bits = b.bitcast(value, words)
        upper = b.lshr(bits, _constant(words, 16))
        odd = b.and_(upper, _constant(words, 1))
        rounded = b.lshr(b.add(b.add(bits, odd), _constant(words, 0x7FFF)), _constant(words, 16))
        # Rounding could carry a NaN's last bits into infinity: NaN keeps its upper half, made quiet.
        quiet = b.or_(upper, _constant(words, 0x40))
        upper = b.select(b.fcmp_unordered("uno", value, value), quiet, rounded)
        half = b.trunc(upper, ir.VectorType(ir.IntType(16), vector.length))
        b.store(half, _pointer(b, a[0], half.type), align=2)
        return ctx.get_dummy_value()

    return types.void(address, vector, storage), generate


@intrinsic(prefer_literal=True)
def prefetch(context: Any, address: Any) -> Any:
    """Asks for the cache line at an address; harmless where the address is not ours."""

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            b.module, ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32]), "llvm.prefetch.p0"
        )
        # To read (0), into the second-level cache (2), data (1).
        b.call(function, [b.inttoptr(a[0], byte), _I32(0), _I32(2), _I32(1)])
        return ctx.get_dummy_value()

    return types.void(address), generate


@intrinsic(prefer_literal=True)
def load_index(context: Any, address: Any, bits: Any) -> Any:
    """An integer of 32 or 64 bits from an address."""

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        value = b.load(_pointer(b, a[0], ir.IntType(bits.literal_value)))
        return b.sext(value, _I64) if bits.literal_value < 64 else value

    return types.int64(address, bits), generate


@intrinsic(prefer_literal=True)
def store_index(context: Any, address: Any, value: Any, bits: Any) -> Any:
    """Writes an integer as 32 or 64 bits."""

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        integer = ir.IntType(bits.literal_value)
        b.store(b.trunc(a[1], integer) if bits.literal_value < 64 else a[1], _pointer(b, a[0], integer))
        return ctx.get_dummy_value()

    return types.void(address, types.int64, bits), generate


@intrinsic(prefer_literal=True)
def load_indices(context: Any, address: Any, length: Any) -> Any:
    """`length` consecutive integers of 64 bits, as <length × int64>."""
    vector = Vector(length.literal_value, types.int64)

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        return b.load(_pointer(b, a[0], ctx.get_value_type(vector)), align=8)

    return vector(address, length), generate


@intrinsic(prefer_literal=True)
def load_arguments(context: Any, address: Any, count: Any) -> Any:
    """The `count` 64-bit integers that a kernel is called with, as a tuple."""
    result = types.UniTuple(types.int64, count.literal_value)

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        base = _pointer(b, a[0], _I64)
        values = [b.load(b.gep(base, [_I64(k)], source_etype=_I64)) for k in range(count.literal_value)]
        return ctx.make_tuple(b, result, values)

    return result(address, count), generate


@intrinsic(prefer_literal=True)
def as_float(context: Any, bits: Any) -> Any:
    """The float64 whose bits were passed as an integer."""

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        return b.bitcast(a[0], ir.DoubleType())

    return types.float64(types.int64), generate


@intrinsic(prefer_literal=True)
def take_next(context: Any, address: Any) -> Any:
    """The counter at an address, which is then one more: how threads take items (the only atomic there is)."""

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        return b.atomic_rmw("add", _pointer(b, a[0], _I64), _I64(1), "monotonic")

    return types.int64(address), generate


@intrinsic(prefer_literal=True)
def scratch(context: Any, num_bytes: Any) -> Any:
    """The address of `num_bytes` on the thread's own stack, aligned to a cache line."""

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        with b.goto_entry_block():
            place = b.alloca(ir.ArrayType(ir.IntType(8), num_bytes.literal_value))
            place.align = 64
        return b.ptrtoint(place, _I64)

    return types.int64(num_bytes), generate


# ------------------------------------------------------------------------------------------------ arithmetic


@intrinsic(prefer_literal=True)
def splat(context: Any, value: Any, length: Any, storage: Any) -> Any:
    """A vector with the same number in every lane."""
    vector = Vector(length.literal_value, _COMPUTE[storage.literal_value])

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        return _splat(b, ctx.cast(b, a[0], value, vector.element), vector.length)

    return vector(value, length, storage), generate


def _elementwise(instruction: str) -> Any:
    @intrinsic(prefer_literal=True)
    def operation(context: Any, x: Any, y: Any) -> Any:
        def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
            return getattr(b, instruction)(a[0], a[1], flags=_CONTRACT)

        return x(x, y), generate

    return operation


add, sub, mul, div = (_elementwise(name) for name in ("fadd", "fsub", "fmul", "fdiv"))


@intrinsic(prefer_literal=True)
def fma(context: Any, x: Any, y: Any, z: Any) -> Any:
    """x · y + z."""

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        return _multiply_add(b, *a)

    return x(x, y, z), generate


@intrinsic(prefer_literal=True)
def maximum(context: Any, x: Any, y: Any) -> Any:
    """The larger of two lanes; where y is NaN, y."""

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        return _maximum(b, a[0], a[1])

    return x(x, y), generate


@intrinsic(prefer_literal=True)
def where_positive(context: Any, condition: Any, x: Any, y: Any) -> Any:
    """x where the condition is above zero, y elsewhere (NaN included)."""

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        return b.select(b.fcmp_ordered(">", a[0], _constant(a[0].type, 0.0)), a[1], a[2])

    return x(condition, x, y), generate


# ---------------------------------------------------------------------------- between heads and channels


def _add(b: Any, x: Any, y: Any) -> Any:
    return b.fadd(x, y, flags=_CONTRACT)


def _by_head(join: Callable[[Any, Any, Any], Any]) -> Any:
    @intrinsic(prefer_literal=True)
    def operation(context: Any, vector: Any, heads: Any) -> Any:
        count = heads.literal_value

        def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
            value, channels = a[0], vector.length // count
            while channels > 1:
                # LLVM would move the shuffles before the product that is summed, and make twice as many of them.
                value = _fence(b, value)
                if channels % 2:
                    parts = [_shuffle(b, value, value, range(c, count * channels, channels)) for c in range(channels)]
                    value, channels = parts[0], 1
                    for part in parts[1:]:
                        value = join(b, value, part)
                else:
                    half = channels // 2
                    first = [h * channels + c for h in range(count) for c in range(half)]
                    second = [lane + half for lane in first]
                    value = join(b, _shuffle(b, value, value, first), _shuffle(b, value, value, second))
                    channels = half
            return value

        return Vector(count, vector.element)(vector, heads), generate

    return operation


# <heads × channels> → <heads>: the sum over the channels of each head, or the largest of them. The second half of each head
# is joined to the first, log2 times: whole registers where a head has several, quarters of two registers where it is shorter.
head_sum, head_maximum = _by_head(_add), _by_head(_maximum)


@intrinsic(prefer_literal=True)
def spread(context: Any, vector: Any, channels: Any) -> Any:
    """<heads> → <heads × channels>: every lane repeated for the channels of its head."""
    count = channels.literal_value

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        return _shuffle(b, a[0], a[0], [lane for lane in range(vector.length) for _ in range(count)])

    return Vector(vector.length * count, vector.element)(vector, channels), generate


@intrinsic(prefer_literal=True)
def tile(context: Any, vector: Any, copies: Any) -> Any:
    """<n> → <copies × n>: the whole vector, again and again."""
    count = copies.literal_value

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        return _shuffle(b, a[0], a[0], list(range(vector.length)) * count)

    return Vector(vector.length * count, vector.element)(vector, copies), generate


def _fold(join: Callable[[Any, Any, Any], Any]) -> Any:
    @intrinsic(prefer_literal=True)
    def operation(context: Any, vector: Any, length: Any) -> Any:
        count = length.literal_value

        def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
            parts = [_shuffle(b, a[0], a[0], range(k, k + count)) for k in range(0, vector.length, count)]
            while len(parts) > 1:
                pairs = [join(b, first, second) for first, second in zip(parts[::2], parts[1::2], strict=False)]
                parts = pairs + parts[2 * len(pairs) :]
            return parts[0]

        return Vector(count, vector.element)(vector, length), generate

    return operation


# <copies × length> → <length>: the sum of the copies, or the largest of them; the opposite of `tile`.
fold, fold_maximum = _fold(_add), _fold(_maximum)


@intrinsic(prefer_literal=True)
def keep_first(context: Any, vector: Any, count: Any, other: Any) -> Any:
    """The first `count` lanes, and the lanes of `other` after them."""

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        lanes = ir.Constant(ir.VectorType(_I32, vector.length), [_I32(k) for k in range(vector.length)])
        return b.select(b.icmp_signed("<", lanes, _splat(b, b.trunc(a[1], _I32), vector.length)), a[0], a[2])

    return vector(vector, types.int64, vector), generate


@intrinsic(prefer_literal=True)
def transpose(
    context: Any, address: Any, stride: Any, last: Any, target: Any, target_stride: Any, length: Any, storage: Any
) -> Any:
    """Reads `length` rows of `length` numbers, and writes them as columns; rows after the `last` are that one again.

    log2(length) rounds; in each, rows that are `step` apart exchange the lanes in which bit `step` of the lane's number
    is not that of the row's.
    """
    count = length.literal_value
    vector = Vector(count, _COMPUTE[storage.literal_value])

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        source, distance, final, into, apart = a[:5]
        line = ctx.get_value_type(vector)
        rows = []
        for k in range(count):
            row = b.select(b.icmp_signed("<", _I64(k), final), _I64(k), final)
            rows.append(b.load(_pointer(b, b.add(source, b.mul(row, distance)), line), align=4))
        step = 1
        while step < count:
            for k in range(count):
                if not k & step:
                    low, high = rows[k], rows[k + step]
                    rows[k] = _shuffle(b, low, high, [c if not c & step else count + c - step for c in range(count)])
                    rows[k + step] = _shuffle(b, low, high, [c + step if not c & step else count + c for c in range(count)])
            step *= 2
        for k in range(count):
            b.store(rows[k], _pointer(b, b.add(into, b.mul(_I64(k), apart)), line), align=4)
        return ctx.get_dummy_value()

    return types.void(address, stride, types.int64, target, types.int64, length, storage), generate


# ------------------------------------------------------------------------------------------------- functions


@intrinsic(prefer_literal=True)
def exp(context: Any, x: Any) -> Any:
    """eˣ: relative error 2e-7 in float32, 4e-16 in float64; zero below the smallest normal number, infinite above e⁸⁸ (e⁷⁰⁹).

    x = n·ln 2 + r with |r| ≤ ln 2 / 2; eʳ by a polynomial (float32: Cephes' coefficients, float64: Taylor's to degree 13),
    2ⁿ by writing n in the exponent. Adding 1.5·2²³ (float32) rounds x / ln 2 to n and leaves n in the lowest bits.
    """
    single = x.element == types.float32

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        value = a[0]
        vector = value.type

        def number(c: float) -> Any:
            return _constant(vector, float(np.float32(c)) if single else c)

        low, high = (-87.3, 88.0) if single else (-708.0, 709.0)
        too_low, too_high = (b.fcmp_ordered("<", value, number(low)), b.fcmp_ordered(">", value, number(high)))
        x = b.select(too_low, number(low), b.select(too_high, number(high), value))  # NaN passes
        rounder = 12582912.0 if single else 6755399441055744.0
        shifted = _multiply_add(b, x, number(1.4426950408889634), number(rounder))
        n = b.fsub(shifted, number(rounder))
        # ln 2 in two parts, the first with so few bits that n times it is exact.
        ln2, ln2_rest = (0.693359375, -2.12194440e-4) if single else (6.93145751953125e-1, 1.42860682030941723212e-6)
        r = _multiply_add(b, n, number(-ln2_rest), _multiply_add(b, n, number(-ln2), x))
        if single:
            coefficients = [
                1.9875691500e-4,
                1.3981999507e-3,
                8.3334519073e-3,
                4.1665795894e-2,
                1.6666665459e-1,
                5.0000001201e-1,
            ]
        else:
            coefficients = [1.0 / math.factorial(k) for k in range(13, 1, -1)]
        p = number(coefficients[0])
        for c in coefficients[1:]:
            p = _multiply_add(b, p, r, number(c))
        p = b.fadd(_multiply_add(b, p, b.fmul(r, r), r), number(1.0))
        words = ir.VectorType(_I32 if single else _I64, vector.count)
        exponent = b.add(b.bitcast(shifted, words), _constant(words, 127 if single else 1023))
        power = b.bitcast(b.shl(exponent, _constant(words, 23 if single else 52)), vector)
        result = b.select(too_low, number(0.0), b.fmul(p, power))
        return b.select(too_high, number(math.inf), result)

    return x(x), generate


@intrinsic(prefer_literal=True)
def log(context: Any, x: Any) -> Any:
    """The natural logarithm of positive normal numbers: Cephes' logf in float32, the C library lane by lane in float64."""
    single = x.element == types.float32

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        value = a[0]
        vector = value.type
        if not single:
            function = b.module.declare_intrinsic("llvm.log", [ir.DoubleType()])
            result = ir.Constant(vector, ir.Undefined)
            for lane in range(vector.count):
                result = b.insert_element(result, b.call(function, [b.extract_element(value, _I32(lane))]), _I32(lane))
            return result
        words = ir.VectorType(_I32, vector.count)

        def number(c: float) -> Any:
            return _constant(vector, float(np.float32(c)))

        # x = 2ⁿ·m with m in [√½, √2): 0x3f3504f3 is √½.
        bits = b.bitcast(value, words)
        n = b.ashr(b.sub(bits, _constant(words, 0x3F3504F3)), _constant(words, 23))
        m = b.bitcast(b.sub(bits, b.shl(n, _constant(words, 23))), vector)
        n = b.sitofp(n, vector)
        r = b.fsub(m, number(1.0))
        p = number(7.0376836292e-2)
        for c in (
            -1.1514610310e-1,
            1.1676998740e-1,
            -1.2420140846e-1,
            1.4249322787e-1,
            -1.6668057665e-1,
            2.0000714765e-1,
            -2.4999993993e-1,
            3.3333331174e-1,
        ):
            p = _multiply_add(b, p, r, number(c))
        square = b.fmul(r, r)
        y = _multiply_add(b, n, number(-2.12194440e-4), b.fmul(b.fmul(p, r), square))
        y = _multiply_add(b, square, number(-0.5), y)
        return _multiply_add(b, n, number(0.693359375), b.fadd(r, y))

    return x(x), generate


# ---------------------------------------------------------------------------------------------------- dropout


@intrinsic(prefer_literal=True)
def dropout_factors(
    context: Any, edges: Any, group: Any, words: Any, seed: Any, threshold: Any, scale: Any, storage: Any
) -> Any:
    """What dropout multiplies the weights of a vector of edges with, in heads 4·group … 4·group + words - 1.

    Philox4x32-10 as in `graphattn.ops.philox`: counter (edge mod 2³², edge div 2³², group, 0), key (seed mod 2³², seed
    div 2³²); `scale` where a word is at least `threshold`, else zero. The lanes of the result are edge by edge, the words
    of an edge side by side.
    """
    count, length = words.literal_value, edges.length
    result = Vector(count * length, _COMPUTE[storage.literal_value])

    def generate(ctx: Any, b: Any, signature: Any, a: Any) -> Any:
        edge, group_value, _, seed_value, threshold_value, scale_value, _ = a
        narrow, wide = ir.VectorType(_I32, length), ir.VectorType(_I64, length)

        def multiply(x: Any, constant: int) -> tuple[Any, Any]:
            product = b.mul(b.zext(x, wide), _constant(wide, constant))
            return b.trunc(b.lshr(product, _constant(wide, 32)), narrow), b.trunc(product, narrow)

        def half(value: Any, shift: int) -> Any:
            return b.trunc(b.lshr(value, _I64(shift)), _I32)

        c0, c1 = b.trunc(edge, narrow), b.trunc(b.lshr(edge, _constant(wide, 32)), narrow)
        c2, c3 = _splat(b, b.trunc(group_value, _I32), length), _constant(narrow, 0)
        k0, k1 = half(seed_value, 0), half(seed_value, 32)
        for _ in range(10):
            high0, low0 = multiply(c0, 0xD2511F53)
            high1, low1 = multiply(c2, 0xCD9E8D57)
            c0, c1 = b.xor(b.xor(high1, c1), _splat(b, k0, length)), low1
            c2, c3 = b.xor(b.xor(high0, c3), _splat(b, k1, length)), low0
            k0, k1 = b.add(k0, _I32(0x9E3779B9)), b.add(k1, _I32(0xBB67AE85))
        kept = _splat(b, ctx.cast(b, scale_value, scale, result.element), length)
        dropped = _constant(kept.type, 0.0)
        limit = _splat(b, threshold_value, length)
        factors = [b.select(b.icmp_unsigned(">=", b.zext(c, wide), limit), kept, dropped) for c in (c0, c1, c2, c3)[:count]]
        # Edge by edge: the words of edge e are lanes e, length + e, 2·length + e, ... of all factors side by side.
        if count == 1:
            return factors[0]
        joined = [_shuffle(b, factors[0], factors[1], range(2 * length))]
        if count > 2:
            joined.append(_shuffle(b, factors[2], factors[-1], range(2 * length)))
        if count == 2:
            return _shuffle(b, joined[0], joined[0], [w * length + e for e in range(length) for w in range(2)])
        return _shuffle(b, joined[0], joined[1], [w * length + e for e in range(length) for w in range(count)])

    return result(edges, group, words, types.int64, types.int64, scale, storage), generate
