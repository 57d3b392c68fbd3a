"""docs/published_weights.md, converting block included, with random weights in place of those that torchvision downloads."""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")

from PIL import Image

import minires as mr
from tests.docs.page import python_blocks, run
from tests.parity.comparison import assert_close, to_numpy
from tests.parity.torchvision_import import import_torchvision

torchvision = import_torchvision()

WEIGHTS = torchvision.models.ResNet50_Weights.IMAGENET1K_V1
TOLERANCE = 1e-4  # float32, through 50 layers


@pytest.fixture(scope="module")
def theirs():
    """torchvision's ResNet-50 in evaluation, with random weights and running statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torchvision.models.resnet50()
        for name, module in net.named_modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.running_mean, std=0.2)
                torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
                if name.endswith("bn3"):  # or the stream would grow from block to block
                    torch.nn.init.constant_(module.weight, 0.2)
    return net.eval()


@pytest.fixture
def folder(tmp_path, monkeypatch, theirs):
    """Where a reader works; a download would bring the random weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(type(WEIGHTS), "get_state_dict", lambda self, **options: {WEIGHTS: theirs.state_dict()}[self])
    yield tmp_path
    for path in tmp_path.glob("resnet50.*"):
        path.unlink()  # 100 MB


def photograph(width, height):
    """Blocks of random colours, enlarged, with noise."""
    generator = np.random.default_rng([width, height])
    large = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height))
    pixels = np.asarray(large) + generator.normal(0, 8, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.mark.slow
def test_the_page_converts_the_weights_and_computes_torchvision_s_logits(folder, theirs, capsys):
    image = photograph(500, 375)
    image.save("photo.jpg", format="PNG")
    conversion, *blocks = python_blocks("published_weights.md")
    run([conversion])
    assert set(mr.load("resnet50.npz")) == set(theirs.state_dict())
    names = run(blocks)
    images = WEIGHTS.transforms()(image)[np.newaxis]
    with torch.no_grad():
        logits = theirs(images)[0]
    assert_close(names["prepared"]("photo.jpg"), images, "the image", 1e-6)
    assert_close(names["logits"], logits, "logits", TOLERANCE)
    assert_close(names["probabilities"], logits.softmax(0), "probabilities", TOLERANCE)
    best = [WEIGHTS.meta["categories"][k] for k in logits.topk(5).indices]
    assert [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()] == best


@pytest.mark.parametrize("size", [(320, 240), (240, 321), (1000, 257), (256, 511), (64, 97), (224, 224), (1023, 767)])
def test_photographs_are_prepared_as_torchvision_does_whatever_their_size(tmp_path, size):
    photograph(*size).save(tmp_path / "photo.png")
    prepared = run(python_blocks("published_weights.md")[1:2])["prepared"]
    theirs = WEIGHTS.transforms()(Image.open(tmp_path / "photo.png"))[np.newaxis]
    assert_close(prepared(tmp_path / "photo.png"), theirs, "the image", 1e-6)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_pytorch_is_refused_with_the_way_to_convert_it(tmp_path, monkeypatch, zipped):
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    torch.save(net.state_dict(), tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(mr.DataError, match="it is a PyTorch file or another pickle: convert it where") as error:
        mr.load(tmp_path / "net.pt")
    advice = str(error.value).partition("is installed: ")[2]
    monkeypatch.chdir(tmp_path)
    run([advice], {"np": np, "state_dict": dict(net.named_parameters())})  # such as older files hold: not detached
    np.testing.assert_array_equal(mr.load("weights.npz")["0.weight"], to_numpy(net.state_dict())["0.weight"])
