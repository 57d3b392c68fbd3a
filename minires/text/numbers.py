"""Numbers as text, as short as a reader expects them."""
import math


def range_text(low: float, high: float) -> str:
    """A range as a reader expects it: "2 to 8", "at least 3", "exactly 1"."""
    if low == high:
        return f"exactly {whole(low)}"
    if math.isinf(high):
        return f"at least {short(low)}"
    if math.isinf(low) or low == 0:
        return f"at most {short(high)}"
    return f"{short(low)} to {short(high)}"


def whole(value: float) -> str:
    """A count, to its last digit: 2,829,238,912; a number that is not whole as `short` writes it."""
    return f"{int(value):,}" if math.isfinite(value) and value == int(value) else short(value)


def short(value: float) -> str:
    """Three digits, in the form a reader expects: 0, 2.35, 3000, 7.1e-11, 3e7."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"
