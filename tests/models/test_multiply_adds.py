"""What the nets of He et al. 2015 compute for one image, in multiply-adds ("FLOPs" in their table 1).

The table gives two digits, and counts with the stride on the first 1 x 1; torchvision's nets have it on the 3 x 3. The whole
numbers here were counted layer by layer, apart from minires, from the table's kernels, widths and output sizes.
"""
import pytest

import minires as mr
from minires import models


def draw_nothing(tensor, generator):
    """An initialiser for nets of which only the shapes matter."""
    return tensor


def multiply_adds(net, image_shape, images=1):
    return mr.summary(net, (images, *image_shape)).multiply_adds


@pytest.mark.parametrize(("depth", "stride_on", "billions", "expected"), [
    (18, "3x3", 1.814, 1_814_073_344),
    pytest.param(34, "3x3", 3.664, 3_663_761_408, marks=pytest.mark.slow),
    pytest.param(50, "1x1", 3.858, 3_857_973_248, marks=pytest.mark.slow),
    (50, "3x3", 4.089, 4_089_184_256),
    pytest.param(101, "1x1", 7.570, 7_570_194_432, marks=pytest.mark.slow),
    pytest.param(101, "3x3", 7.801, 7_801_405_440, marks=pytest.mark.slow),
    pytest.param(152, "1x1", 11.282, 11_282_415_616, marks=pytest.mark.slow),
    pytest.param(152, "3x3", 11.514, 11_513_626_624, marks=pytest.mark.slow),
])
def test_imagenet_nets_do_the_multiply_adds_of_the_paper_and_of_torchvision(depth, stride_on, billions, expected):
    counted = multiply_adds(models.imagenet_net(depth, stride_on=stride_on, init=draw_nothing), (3, 224, 224))
    assert (round(counted / 1e9, 3), counted) == (billions, expected)


@pytest.mark.parametrize(("depth", "millions", "expected"), [
    (20, 40.6, 40_551_040),
    (56, 125.5, 125_485_696),
    (110, 252.9, 252_887_680),
])
def test_cifar_nets_do_those_of_their_equal_stages(depth, millions, expected):
    # each of the 6n convolutions does as much as any other, but for the two that halve the image, which do half of it
    convolution, stem, fc = 16 * 16 * 9 * 32 * 32, 3 * 16 * 9 * 32 * 32, 64 * 10
    assert expected == (depth - 3) * convolution + stem + fc
    counted = multiply_adds(models.cifar_net(depth, init=draw_nothing), (3, 32, 32))
    assert (round(counted / 1e6, 1), counted) == (millions, expected)


def test_a_plain_net_does_those_of_its_twin_without_the_projections():
    residual, plain = (models.imagenet_net(34, residual=residual, init=draw_nothing) for residual in (True, False))
    projections = 64 * 128 * 28 * 28 + 128 * 256 * 14 * 14 + 256 * 512 * 7 * 7
    assert multiply_adds(residual, (3, 224, 224)) - multiply_adds(plain, (3, 224, 224)) == projections


def test_two_images_do_twice_those_of_one():
    net = models.imagenet_net(18, init=draw_nothing)
    assert multiply_adds(net, (3, 32, 32), images=2) == 2 * multiply_adds(net, (3, 32, 32))
