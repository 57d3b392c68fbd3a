"""What is claimed about residual nets: the statements of the post that minires grew from, and others."""
from dataclasses import dataclass

from minires.errors import UnknownNameError


@dataclass(frozen=True)
class Claim:
    """A statement that a lesson can measure.

    Attributes:
        text: the statement, in one sentence, as its author makes it, whether or not it is right.
        source: who says so, and where: "He et al. 2015, section 4.1".
        id: S1 to S15 for the post's statements, "" for others.
    """

    text: str
    source: str
    id: str = ""


# A Japanese introduction of December 2016, whose explanation of why gradients vanish was copied widely. Some of its
# statements are right, some imprecise, and some wrong: the lessons find out which.
_POST = {
    "S1": "ResNet, by Kaiming He and others at Microsoft Research, won ILSVRC 2015; it has 152 layers.",
    "S2": "Deep beats wide: a net gains more from depth than from width. This is experience; theory does not explain it.",
    "S3": "Where layers are simply stacked, gradients vanish or explode, and the net cannot learn.",
    "S4": "Vanishing and exploding gradients together are what is called degradation.",
    "S5": "Gradients vanish in the deep layers, where, as training converges, a layer's output is nearly its input: the "
          "difference becomes so small that there is nothing left to learn from.",
    "S6": "What layers do to a gradient multiplies, so that it changes exponentially with their number.",
    "S7": "Gradients explode where weights are 1 or larger.",
    "S8": "A residual block learns the difference F(x) = H(x) - x in place of H(x).",
    "S9": "In deep layers the H(x) to be learned is extremely close to x, and that is hard to fit with nonlinear layers.",
    "S10": "A shortcut that adds x to the output of the layers implements this.",
    "S11": "From 18 to 34 layers the error of the plain net rises, and that of the ResNet falls.",
    "S12": "The more layers a ResNet has, the lower its error.",
    "S13": "With 1202 layers the trend goes on: the error falls further.",
    "S14": "In principle layers can be added without limit, as long as one can pay for the computation.",
    "S15": "ResNet is better than people at classifying images.",
}
POST = {key: Claim(text, f"the post, {key}", key) for key, text in _POST.items()}


def find_claim(claim: str | Claim) -> Claim:
    """A `Claim` as it is; "S5" as the post's statement of that number.

    Raises:
        UnknownNameError: the post has no such statement.
    """
    if isinstance(claim, Claim):
        return claim
    if claim not in POST:
        raise UnknownNameError(f"unknown claim {claim!r}: expected S1 to S15, or a lesson.Claim(text, source)")
    return POST[claim]
