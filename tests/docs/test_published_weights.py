"""docs/published_weights.md, run with random weights: its blocks work as written, and do what the text says."""
import numpy as np
import pytest
from PIL import Image

import minires as mr
from tests.docs.page import python_blocks, run

CLASSES = [f"class {k}" for k in range(1000)]


def photograph(width, height):
    """Smooth shapes in colour, with a little noise."""
    y, x = np.mgrid[:height, :width].astype(float)
    light = np.stack([np.sin(x / 40), np.cos(y / 30 + 1), np.sin((x + y) / 50)], axis=-1)
    pixels = 128 + 90 * light + np.random.default_rng(0).normal(0, 8, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def state():
    """A state of ResNet-50 with small residual branches, so that its logits stay small."""
    state = mr.models.resnet50(seed=1).state_dict()
    return {name: np.full_like(values, 0.3) if name.endswith("bn3.weight") else values for name, values in state.items()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a reader works: the photograph and the names of the classes are there."""
    monkeypatch.chdir(tmp_path)
    photograph(320, 240).save("photo.jpg", format="PNG")  # Pillow looks at the content
    (tmp_path / "imagenet_classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    yield tmp_path
    for path in tmp_path.glob("resnet50.*"):
        path.unlink()  # 100 MB


@pytest.fixture
def blocks():
    """The blocks that run without PyTorch."""
    conversion, *blocks = python_blocks("published_weights.md")
    assert "torchvision" in conversion
    assert "torch" not in "".join(blocks)
    return blocks


def prepared(blocks, image, path):
    image.save(path)
    return run(blocks[:1])["prepared"](path)


def colours(x):
    """The pixels from which the page made x, (3, H, W) -> (H, W, 3), from 0 to 255."""
    return 255 * (x.transpose(1, 2, 0) * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406])


@pytest.mark.slow
def test_the_page_prints_the_five_most_probable_classes(folder, blocks, state, capsys):
    np.savez("resnet50.npz", **state)
    names = run(blocks)
    logits = names["logits"]
    assert not names["model"].training
    assert logits.shape == (1000,)
    assert np.ptp(logits) > 0.1
    probabilities = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum()
    np.testing.assert_allclose(names["probabilities"], probabilities, rtol=1e-4)
    best = sorted(range(1000), key=lambda k: -logits[k])[:5]
    assert [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()] == [CLASSES[k] for k in best]


@pytest.mark.slow
def test_a_safetensors_file_gives_the_same(folder, blocks, state):
    from safetensors.numpy import save_file

    np.savez("resnet50.npz", **state)
    save_file(state, "resnet50.safetensors")
    by_safetensors = [block.replace("resnet50.npz", "resnet50.safetensors") for block in blocks]
    assert by_safetensors != blocks
    np.testing.assert_array_equal(run(by_safetensors)["logits"], run(blocks)["logits"])


def test_without_the_weights_the_error_names_the_file(folder, blocks):
    with pytest.raises(mr.FileError, match=r"resnet50\.npz.*No such file"):
        run(blocks)


def test_a_file_for_another_net_says_what_does_not_fit(folder, blocks):
    mr.save(mr.models.resnet20(), "resnet50.npz")
    with pytest.raises(mr.StateError, match="nothing was changed"):
        run(blocks)


def test_the_colours_are_shifted_and_scaled(tmp_path, blocks):
    x = prepared(blocks, Image.new("RGB", (300, 400), (255, 0, 51)), tmp_path / "photo.png")
    assert (x.shape, x.dtype) == ((1, 3, 224, 224), np.float32)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(x[0], np.broadcast_to(np.reshape(expected, (3, 1, 1)), (3, 224, 224)), rtol=1e-5)


@pytest.mark.parametrize(("width", "height", "left", "top"), [(256, 256, 16, 16), (300, 256, 38, 16), (256, 511, 16, 144)])
def test_the_middle_is_kept(tmp_path, blocks, width, height, left, top):
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x // 2, y // 2, 0 * x], axis=-1).astype(np.uint8)  # the shorter side is 256 already
    kept = prepared(blocks, Image.fromarray(pixels), tmp_path / "photo.png")[0]
    np.testing.assert_array_equal(np.rint(colours(kept)), pixels[top:top + 224, left:left + 224])


def test_the_shorter_side_becomes_256_pixels(tmp_path, blocks):
    y, x = np.mgrid[:640, :512]
    pixels = np.stack([x // 3, y // 3, 0 * x], axis=-1).astype(np.uint8)
    kept = prepared(blocks, Image.fromarray(pixels), tmp_path / "photo.png")[0]
    halved = pixels.reshape(320, 2, 256, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(colours(kept), halved[48:272, 16:240], atol=1.5)


@pytest.mark.parametrize("size", [(320, 240), (240, 320), (1000, 257), (257, 3000), (64, 64), (225, 225)])
def test_no_part_of_what_is_kept_lies_outside_of_the_image(tmp_path, blocks, size):
    kept = prepared(blocks, Image.new("RGB", size, (200, 100, 50)), tmp_path / "photo.png")[0]
    np.testing.assert_array_equal(np.rint(colours(kept)), np.broadcast_to([200, 100, 50], (224, 224, 3)))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_images_in_other_modes_are_taken_too(tmp_path, blocks, mode):
    assert prepared(blocks, photograph(300, 260).convert(mode), tmp_path / "photo.png").shape == (1, 3, 224, 224)
