"""The complementary error function, which NumPy lacks: erfc x = 2/√π ∫ₓ^∞ e^(-t²) dt, which is 1 - erf x.

By the rational functions of W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of
Computation 23 (1969), 631-637: one for each of three ranges of |x|, exact to 1e-16 of the value. In float64, `erfc` differs
from Python's `math.erfc` by at most 1e-15 of it for x up to 1, and by 1e-15 x² of it above, where the rounding of x² in
e^(-x²) counts: measured in tests/ops/test_error_function.py.
"""
from collections.abc import Sequence

from minires.arrays.backend import Array, array_module
from minires.arrays.masks import may_hold_any

NEAR, FAR = 0.46875, 4.0  # where one range ends and the next begins
LARGEST = 30.0  # erfc of this is 0 in float64

# Coefficients of numerator and denominator, that of the highest power first.
ERF_NEAR = ((1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
             3.20937758913846947e3),
            (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3))
ERFCX_MIDDLE = ((2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
                 2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
                 1.23033935479799725e3),
                (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
                 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3))
ERFCX_FAR = ((1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
              1.60837851487422766e-2, 6.58749161529837803e-4),
             (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
              2.33520497626869185e-3))
ONE_OVER_ROOT_PI = 0.5641895835477562869


def erfc(x: Array) -> Array:
    """1 - erf x of each element, from 2 to 0: with all its digits also where erf x is nearly 1."""
    xp = array_module(x)
    distance = xp.abs(x)
    tail = erfc_of_positive(xp.maximum(distance, NEAR))
    return xp.where(distance <= NEAR, 1 - erf_near_0(x), xp.where(x < 0, 2 - tail, tail))


def erf_near_0(x: Array) -> Array:
    """erf x = x R(x²) for |x| <= NEAR; of others, that of the end that is nearer."""
    xp = array_module(x)
    x = xp.minimum(xp.maximum(x, -NEAR), NEAR)
    return x * ratio(*ERF_NEAR, x * x)


def erfc_of_positive(x: Array) -> Array:
    """erfc x for x >= NEAR: e^(-x²) times a function that changes slowly, called erfcx."""
    xp = array_module(x)
    x = xp.minimum(x, LARGEST)
    erfcx = ratio(*ERFCX_MIDDLE, xp.minimum(x, FAR))
    is_far = x > FAR
    if may_hold_any(is_far):
        erfcx = xp.where(is_far, erfcx_far(xp.maximum(x, FAR)), erfcx)
    return xp.exp(-x * x) * erfcx


def erfcx_far(x: Array) -> Array:
    """erfcx x for x >= FAR: (1/√π - s R(s)) / x with s = 1/x²."""
    s = 1 / (x * x)
    return (ONE_OVER_ROOT_PI - s * ratio(*ERFCX_FAR, s)) / x


def ratio(numerator: Sequence[float], denominator: Sequence[float], x: Array) -> Array:
    """The value of a rational function, by Horner's rule above and below."""
    return polynomial(numerator, x) / polynomial(denominator, x)


def polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """The value of a polynomial, by Horner's rule."""
    y = coefficients[0] * x
    for c in coefficients[1:-1]:
        y += c
        y *= x
    y += coefficients[-1]
    return y
