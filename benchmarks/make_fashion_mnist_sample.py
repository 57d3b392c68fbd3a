"""Make the sample of Fashion-MNIST that is bundled with minires, from the four published IDX files.

    python -m benchmarks.make_fashion_mnist_sample FOLDER

FOLDER holds train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and
t10k-labels-idx1-ubyte.gz, as in Debian's package dataset-fashion-mnist or in data/fashion of the authors' repository
github.com/zalandoresearch/fashion-mnist. Run it from the root of the repository, with minires installed.

The sample has 1,000 training and 200 test images of each class. Which ones, and their order, follows from a hash of
each image's place in the published file, so it is the same with every version of Python and NumPy. The same zlib
writes the same bytes every time; another zlib may compress the same arrays to other bytes.
"""

import argparse
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from minires.data.fashion_mnist_files import SAMPLE_FILE
from minires.data.idx import opened, read_idx
from minires.errors import DataError, MiniresError, file_errors

LICENSE_FILE = "FASHION_MNIST_LICENSE"
DATA_FOLDER = Path(__file__).resolve().parent.parent / "minires" / "data"
SEED = "minires Fashion-MNIST sample 0"
CLASSES = 10
IMAGES_PER_CLASS = {"train": 1000, "test": 200}

# The authors publish MD5 sums of the gzipped files, which change when a distribution compresses the same content
# again. So the sums here are SHA-256 of the decompressed content, which is the same in the authors' files (MD5
# 8d4fb7e6c68d591d4c3dfef9ec88bf0d, 25c81989df183df01b3e8a0aad5dffbe, bef4ecab320f06d8554ea6380940ec79 and
# bb300cfdad3c16e7a12a480ee83cd310, in the order below) and in Debian's.
PUBLISHED_FILES = {
    "train_images": (
        "train-images-idx3-ubyte.gz",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train_labels": (
        "train-labels-idx1-ubyte.gz",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "test_images": (
        "t10k-images-idx3-ubyte.gz",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "test_labels": (
        "t10k-labels-idx1-ubyte.gz",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}

LICENSE = """\
fashion_mnist_sample.npz in this folder is a sample of Fashion-MNIST,
https://github.com/zalandoresearch/fashion-mnist, which has this licence:

The MIT License (MIT)

Copyright © 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the “Software”), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED “AS IS”, WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def main(arguments=None):
    """Make the sample from the folder named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Make the bundled sample of Fashion-MNIST from the published files.")
    parser.add_argument("folder", type=Path, help="the folder that holds the four published .gz files")
    parser.add_argument("--output", type=Path, default=DATA_FOLDER, help="where to write (default: minires/data)")
    options = parser.parse_args(arguments)
    try:
        arrays = make_sample(read_published(options.folder))
        write_sample(options.output, arrays)
    except MiniresError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    size = (options.output / SAMPLE_FILE).stat().st_size
    print(f"wrote {options.output / SAMPLE_FILE}: {size / 1e6:.2f} MB")
    return 0


def read_published(folder):
    """Return the four published arrays by name: train_images uint8 (60000, 28, 28), train_labels uint8 (60000,), ...

    Raises FileError for a missing file, DataError for one whose content is not the published one.
    """
    arrays = {}
    for name, (file_name, published_hash) in PUBLISHED_FILES.items():
        path = folder / file_name
        with opened(path) as (content, _largest):
            content_hash = hashlib.file_digest(content, "sha256").hexdigest()
        if content_hash != published_hash:
            raise DataError(
                f"{path} is not the published file: its decompressed content has the SHA-256 {content_hash}, expected "
                f"{published_hash}. Take the four files from Debian's package dataset-fashion-mnist or from "
                "github.com/zalandoresearch/fashion-mnist; MNIST's files have the same names."
            )
        arrays[name] = read_idx(path)
    return arrays


def make_sample(published):
    """Return the arrays of the sample by name, chosen from the published ones, with the same names and types."""
    sample = {}
    for split, count in IMAGES_PER_CLASS.items():
        images, labels = published[f"{split}_images"], published[f"{split}_labels"]
        indices = choose_balanced(labels, count, split)  # (count * CLASSES,)
        sample[f"{split}_images"] = images[indices]
        sample[f"{split}_labels"] = labels[indices]
    return sample


def choose_balanced(labels, count, split):
    """Return the indices of `count` examples of each class, in shuffled order: (N,) -> (count * CLASSES,).

    The examples are shuffled by a hash, and the first `count` of each class are taken. These are shuffled once more:
    otherwise the last ones would all be of the classes that were complete last. Raises DataError if a class has fewer.
    """
    order = sorted(range(len(labels)), key=ShuffleKey(f"{split}/choice"))
    taken = dict.fromkeys(range(CLASSES), 0)
    indices = []
    for index in order:
        label = int(labels[index])
        if taken[label] < count:
            taken[label] += 1
            indices.append(index)
    for label, number in taken.items():
        if number < count:
            raise DataError(f"{split}: class {label} has {number} examples; expected at least {count}.")
    return np.array(sorted(indices, key=ShuffleKey(f"{split}/order")))


class ShuffleKey:
    """The sort key that shuffles examples: the SHA-256 of the seed, the purpose of the shuffle and the index."""

    def __init__(self, purpose):
        self.purpose = purpose

    def __call__(self, index):
        return hashlib.sha256(f"{SEED}/{self.purpose}/{index}".encode()).digest()


def write_sample(folder, arrays):
    """Write the sample and its licence into a folder; raises FileError if the folder cannot be written."""
    with file_errors("cannot write the sample into", folder, "Give --output an existing folder that you may write to."):
        write_npz(folder / SAMPLE_FILE, arrays)
        (folder / LICENSE_FILE).write_text(LICENSE, encoding="utf-8", newline="\n")


def write_npz(path, arrays):
    """Write arrays as a compressed .npz whose bytes depend on nothing but the arrays (and zlib's version).

    numpy.savez_compressed compresses less, and does not promise the same bytes on each system.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3  # Unix, also where Windows writes the file
            member.external_attr = 0o644 << 16
            archive.writestr(member, buffer.getvalue(), compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)


if __name__ == "__main__":
    sys.exit(main())
