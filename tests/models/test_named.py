"""The published nets by name: how many parameters each has, and what an unknown name is told."""
import pytest

from minires import models
from minires.errors import ArgumentError, UnknownNameError

PARAMETERS = {
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet1202": 19_421_274,
    "plain20": 269_722,
    "plain32": 464_154,
    "plain44": 658_586,
    "plain56": 853_018,
    "plain110": 1_727_962,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "plain18": 11_515_688,
    "plain34": 21_623_848,
}
SLOW = {"resnet101", "resnet152", "resnet1202"}


def draw_nothing(tensor, generator):
    return tensor


def count(net):
    return sum(parameter.size for parameter in net.parameters())


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in PARAMETERS])
def test_each_name_is_the_net_of_its_size(name):
    maker = getattr(models, name)
    assert models.NAMED[name] is maker
    net = maker(init=draw_nothing)
    assert count(net) == PARAMETERS[name]
    blocks = [module for _, module in net.named_modules() if isinstance(module, models.Block)]
    assert {block.residual for block in blocks} == {name.startswith("resnet")}


def test_every_name_is_listed_here():
    assert set(models.NAMED) == set(PARAMETERS)
    assert set(PARAMETERS) <= set(models.__all__)


@pytest.mark.parametrize(("name", "parameters"), [("resnet18", 11_515_688), ("resnet34", 21_623_848)])
def test_option_a_has_the_parameters_of_the_plain_twin(name, parameters):
    assert count(models.make(name, shortcut="A", init=draw_nothing)) == parameters


def test_make_passes_the_options_of_the_family_on():
    net = models.make("resnet20", width=4, num_classes=3, in_channels=1)
    assert net.fc.weight.shape == (3, 16)
    assert net.conv1.weight.shape == (4, 1, 3, 3)
    with pytest.raises(ArgumentError, match="width is 0"):
        models.make("plain20", width=0)


@pytest.mark.parametrize(("name", "guess"), [("resnet21", "resnet"), ("resnt20", "resnet20"), ("plain19", "plain")])
def test_an_unknown_name_is_told_a_near_one_and_all_that_there_are(name, guess):
    with pytest.raises(UnknownNameError) as caught:
        models.make(name)
    message = str(caught.value)
    assert message.startswith(f"unknown model '{name}'. Did you mean '{guess}")
    assert message.split("Known are ")[1].split(", ") == list(models.NAMED)


@pytest.mark.parametrize("name", ["vgg", "", None])
def test_a_name_that_is_near_to_none_gets_no_guess(name):
    with pytest.raises(UnknownNameError, match=rf"^unknown model {name!r}\. Known are resnet18"):
        models.make(name)


def test_an_unknown_option_is_told_the_nearest_one():
    for make in (lambda: models.resnet20(shortcutt="B"), lambda: models.make("plain18", shortcutt="B")):
        with pytest.raises(ArgumentError, match=r"unknown option 'shortcutt'\. Did you mean 'shortcut'\?"):
            make()
