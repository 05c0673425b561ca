"""The benchmark pairs: read from the layouts in which they come, with splits that leak nothing."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from sivae_translate.config import DataConfig
from sivae_translate.data.archives import list_files
from sivae_translate.data.loading import load_data
from sivae_translate.data.sources import cars3d, get_source
from sivae_translate.utils.errors import ConfigError, DataError


def encoded(array: np.ndarray, suffix: str = "png") -> Any:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format=suffix, **({"lossless": True} if suffix == "webp" else {}))
    return buffer.getvalue()


def plain(number: int, size: int = 8) -> Any:
    """An image that tells its number: uint8 (size, size, 3)."""
    return np.full((size, size, 3), [number % 256, number // 256, 77], np.uint8)


def lay(root: Path, files: Any) -> Any:
    """Write {relative path: bytes} as a folder."""
    for name, raw in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(raw)
    return root


def config(name: str, root: Path, **more: Any) -> Any:
    return DataConfig(**{"name": name, "root": root, "image_size": 32, "channels": 3, **more})


def load_pairs(settings: DataConfig) -> Any:
    return get_source(settings.name).load_pairs(settings)


def colours(source: Any) -> Any:
    """What each image shows, by its first pixel."""
    return {tuple(int(v) for v in source[i][0, 0]) for i in range(len(source))}


# ---- facades and emoji


FACADES = {
    f"facades/{split}/{domain}/{number:03}.png": encoded(plain(number + 500 * (domain == "label")))
    for split, numbers in (("train", range(1, 11)), ("test", range(11, 15)))
    for domain in ("photo", "label")
    for number in numbers
}


@pytest.fixture(params=["folder", "zip", "folder with a zip"])
def facades(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "folder":
        return lay(tmp_path, FACADES)
    with zipfile.ZipFile(tmp_path / "facades.zip", "w") as archive:
        for name, raw in FACADES.items():
            archive.writestr(name, raw)
    return tmp_path if "with" in request.param else tmp_path / "facades.zip"


def test_of_every_training_facade_one_side_is_seen(facades: Path) -> None:
    data = load_data(config("facades", facades))
    assert data.domains == ("photo", "label")
    photos, labels = ({c[0] + 256 * c[1] for c in colours(source)} for source in data.train)
    assert photos == set(range(1, 6))
    assert labels == {n + 500 for n in range(6, 11)}
    assert data.truth is not None
    assert data.test_ids == (("011", "012", "013", "014"),) * 2
    truth = data.truth_of((0, 2), 1)
    assert truth[0, 0].tolist() == plain(513)[0, 0].tolist()


def test_pix2pix_files_hold_the_photo_on_the_left(tmp_path: Path) -> None:
    files = {
        f"{split}/{n}.png": encoded(np.concatenate([plain(n), plain(n + 500)], axis=1))
        for split, numbers in (("train", range(1, 7)), ("val", range(7, 10)))
        for n in numbers
    }
    data = load_data(config("facades", lay(tmp_path, files)))
    assert [len(source) for source in data.train] == [3, 3]
    assert colours(data.test[0]) == {(n, 0, 77) for n in (7, 8, 9)}
    assert colours(data.test[1]) == {tuple(plain(n + 500)[0, 0].tolist()) for n in (7, 8, 9)}


def emoji_files(train: int = 40, test: int = 5) -> Any:
    return {
        f"emoji/{split}/{domain}/{code:04x}.webp": encoded(plain(code, 16), "webp")
        for split, codes in (("train", range(train)), ("test", range(train, train + test)))
        for domain in ("noto", "openmoji")
        for code in codes
    }


def test_no_code_point_is_seen_in_both_styles_nor_in_test_and_training(tmp_path: Path) -> None:
    data = load_data(config("emoji", lay(tmp_path, emoji_files())))
    noto, openmoji = map(colours, data.train)
    assert len(noto) == len(openmoji) == 20
    assert not noto & openmoji
    assert not (noto | openmoji) & (colours(data.test[0]) | colours(data.test[1]))
    again = load_data(config("emoji", tmp_path))
    assert colours(again.train[0]) == noto


def test_test_images_without_a_partner_are_an_error(tmp_path: Path) -> None:
    lay(tmp_path, emoji_files())
    (tmp_path / "emoji/test/noto/0029.webp").unlink()
    with pytest.raises(DataError, match="0029"):
        load_data(config("emoji", tmp_path))


def test_a_training_image_among_the_test_images_is_an_error(tmp_path: Path) -> None:
    lay(tmp_path, emoji_files())
    for domain in ("noto", "openmoji"):
        (tmp_path / f"emoji/test/{domain}/0003.webp").write_bytes(
            (tmp_path / f"emoji/train/{domain}/0003.webp").read_bytes()
        )
    with pytest.raises(DataError, match=r"1 training images are also test images: 0003"):
        load_data(config("emoji", tmp_path))


def test_true_pairs_of_training_images_are_there_for_supervised_bounds_alone(tmp_path: Path) -> None:
    lay(tmp_path, FACADES)
    lay(tmp_path, emoji_files())
    facades = load_pairs(config("facades", tmp_path))
    assert facades.shape == (2, 10, 32, 32, 3)
    assert facades[:, 3, 0, 0].tolist() == [plain(4)[0, 0].tolist(), plain(504)[0, 0].tolist()]
    emoji = load_pairs(config("emoji", tmp_path))
    assert emoji.shape == (2, 40, 32, 32, 3)
    np.testing.assert_array_equal(emoji[0], emoji[1])  # the test's two domains look the same
    with pytest.raises(ConfigError, match="digits has no true pairs"):
        load_pairs(config("digits", tmp_path))


def test_settings_are_chosen_on_training_pairs_that_are_held_out(tmp_path: Path) -> None:
    lay(tmp_path, FACADES)
    lay(tmp_path, emoji_files())
    for name, count in (("facades", 4), ("emoji", 10)):
        data, published = (
            load_data(config(name, tmp_path, validation_size=validation_size))
            for validation_size in (count, 0)
        )
        assert data.truth is not None
        assert data.test_ids[0] == data.test_ids[1]
        assert len(data.test_ids[0]) == count
        assert not set(data.test_ids[0]) & set(published.test_ids[0])
        for source, test, all_seen in zip(data.train, data.test, published.train, strict=True):
            assert colours(source) == colours(all_seen) - colours(test)
        pairs = load_pairs(config(name, tmp_path, validation_size=count))
        whole = load_pairs(config(name, tmp_path))
        for domain, test in enumerate(data.test):
            assert colours(pairs[domain]) == colours(whole[domain]) - colours(test)
        with pytest.raises(ConfigError, match="half of them"):
            load_data(config(name, tmp_path, validation_size=21))


@pytest.mark.parametrize("name", ["digits", "glyphs", "folder"])
def test_nothing_is_held_out_where_no_pairs_are_known(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"not for {name}"):
        load_data(config(name, tmp_path, validation_size=2))


# ---- Cars3D


def sheet(number: int) -> Any:
    """4 x 24 tiles; a tile's colour is (car, elevation, azimuth)."""
    tiles = np.zeros((4, 24, 64, 64, 3), np.uint8)
    tiles[..., 0] = number
    tiles[..., 1] = np.arange(4)[:, None, None, None]
    tiles[..., 2] = np.arange(24)[:, None, None]
    return tiles


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> Any:
    files = {
        f"car_{n + 1:03}_mesh.webp": encoded(sheet(n).transpose(0, 2, 1, 3, 4).reshape(256, 1536, 3), "webp")
        for n in range(cars3d.CARS)
    }
    return lay(tmp_path_factory.mktemp("cars"), files)


def test_a_domain_is_a_car_and_content_its_viewpoint(sheets: Path) -> None:
    data = load_data(config("cars3d", sheets))
    assert len(data.domains) == len(data.train) == 163
    assert len(data.test) == len(data.test_domains) == 20
    assert not set(data.domains) & set(data.test_domains)
    assert data.domains[0] == "car_001_mesh"
    # Content: elevation 2, azimuth 5 of the first test car; style: any view of the fourth.
    place = data.test_ids[0].index("elevation 2, azimuth 5")
    number = int(data.test_domains[3][4:7]) - 1
    assert data.truth_of((0, place), (3, 17))[0, 0].tolist() == [number, 2, 5]
    assert data.test[3][place][0, 0].tolist() == [number, 2, 5]


def test_without_labels_the_cars_are_one_domain(sheets: Path) -> None:
    data = load_data(config("cars3d", sheets, labels=False))
    assert data.domains == ("",)
    assert len(data.train[0]) == 163 * 96
    assert len(data.test) == 20


@pytest.mark.parametrize("validation_size", [0, 20, 60])
def test_near_twins_are_never_split(sheets: Path, validation_size: Any) -> None:
    data = load_data(config("cars3d", sheets, validation_size=validation_size))
    held = {int(name[4:7]) - 1 for name in data.test_domains}
    assert len(held) == (validation_size or 20)
    for twins in cars3d.TWINS:
        assert len(held & set(twins)) in (0, 2)


def test_cars_that_are_held_out_are_training_cars(sheets: Path) -> None:
    data, published = (load_data(config("cars3d", sheets, validation_size=count)) for count in (20, 0))
    assert set(data.domains) | set(data.test_domains) == set(published.domains)
    assert not set(data.domains) & set(data.test_domains)
    assert colours(data.test[0]) == {
        (int(data.test_domains[0][4:7]) - 1, e, a) for e in range(4) for a in range(24)
    }
    with pytest.raises(ConfigError, match=r"82.*163 training cars"):
        load_data(config("cars3d", sheets, validation_size=82))


def test_the_published_archive_gives_the_same_images(sheets: Path, tmp_path: Path) -> None:
    stored = io.BytesIO()
    savemat(stored, {"im": np.ascontiguousarray(sheet(7).transpose(2, 3, 4, 1, 0))})
    settings = config("cars3d", sheets, image_size=64)
    files = list_files(lay(tmp_path, {"car_008_mesh.mat": stored.getvalue()}))
    published = cars3d._read_car(files, "car_008_mesh.mat", settings)
    drawn = cars3d._read_car(list_files(sheets), "car_008_mesh.webp", settings)
    np.testing.assert_array_equal(published, drawn)
    assert published.shape == (96, 64, 64, 3)


def test_missing_cars_are_counted(tmp_path: Path) -> None:
    lay(tmp_path, {"car_001_mesh.webp": encoded(plain(1), "webp")})
    with pytest.raises(DataError, match=r"183 files.*it has 1"):
        load_data(config("cars3d", tmp_path))


# ---- digits


def idx_bytes(array: np.ndarray) -> Any:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def npz(**arrays: Any) -> Any:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_digits_from_arrays_even_if_sorted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (50, 28, 28), dtype=np.uint8), np.arange(50, dtype=np.uint8) // 5
    usps = {
        "train": images[:30, :16, :16],
        "train_y": labels[:30],
        "test": images[30:42, :16, :16],
        "test_y": labels[30:42],
    }
    root = lay(tmp_path, {"mnist_10k.npz": npz(images=images, labels=labels), "usps.npz": npz(**usps)})
    data = load_data(config("digits", root, channels=1))
    assert data.domains == ("mnist", "usps")
    assert [len(source) for source in (*data.train, *data.test)] == [40, 30, 10, 12]
    train, test = data.labels.train[0], data.labels.test[0]
    assert np.bincount(train).tolist() == [4] * 10
    assert np.bincount(test).tolist() == [1] * 10
    large = config("digits", root, channels=1, image_size=28)
    assert np.array_equal(load_data(large).test[0][3][..., 0], images[19])
    assert data.labels.train[1].tolist() == labels[:30].tolist()
    assert data.truth is None


@pytest.mark.parametrize("zipped", [False, True])
def test_digits_as_published(tmp_path: Path, zipped: bool) -> None:
    images, labels = np.full((6, 28, 28), 200, np.uint8), np.arange(6, dtype=np.uint8)
    mnist = {
        f"mnist/{split}-{kind}": gzip.compress(idx_bytes(array))
        for split in ("train", "t10k")
        for kind, array in (("images-idx3-ubyte.gz", images), ("labels-idx1-ubyte.gz", labels))
    }
    line = "7.0000 " + " ".join(["-1.0000"] * 128 + ["1.0000"] * 128)
    usps = {
        f"usps/zip.{split}.gz": gzip.compress(f"{line}\n{line}\n".encode()) for split in ("train", "test")
    }
    if zipped:
        with zipfile.ZipFile(tmp_path / "digits.zip", "w") as archive:
            for name, raw in (mnist | usps).items():
                archive.writestr(name, raw)
    root = tmp_path / "digits.zip" if zipped else lay(tmp_path, {**mnist, **usps})
    data = load_data(config("digits", root, channels=1))
    assert data.labels.train[0].tolist() == list(range(6))
    assert data.labels.test[1].tolist() == [7, 7]
    # 16 rows of which the lower half is light, in the margin of 3 pixels that makes it 22, drawn at 32.
    column = data.train[1][0][:, 16, 0]
    assert column[:12].max() == 0
    assert column[20:24].min() == 255  # the next row is mixed with the margin
    assert column[-1] == 0


def test_idx_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    images = gzip.compress(idx_bytes(np.zeros((6, 28, 28), np.uint8)))
    lay(tmp_path, {"train-images-idx3-ubyte.gz": images})
    with pytest.raises(DataError, match="four idx files"):
        load_data(config("digits", tmp_path, channels=1))
    lay(tmp_path, {"train-labels-idx1-ubyte": idx_bytes(np.zeros(5, np.uint8))})
    with pytest.raises(DataError, match="6 images but 5 labels"):
        load_data(config("digits", tmp_path, channels=1))


# ---- errors


@pytest.mark.parametrize("name", ["cars3d", "facades", "emoji", "digits"])
def test_a_missing_set_says_where_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="get ") as error:
        load_data(config(name, tmp_path))
    assert "--root (benchmark) or --data (train)" in str(error.value)
    with pytest.raises(DataError, match="get ") as error:
        load_data(config(name, tmp_path / "nowhere"))
    assert "nowhere" in str(error.value)
    with pytest.raises(ConfigError, match=r"data\.root"):
        load_data(DataConfig(name=name))


def test_a_damaged_file_inside_an_archive_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "emoji.zip", "w") as archive:
        for name, raw in emoji_files().items():
            archive.writestr(name, raw)
    raw = bytearray((tmp_path / "emoji.zip").read_bytes())
    raw[len("emoji/train/noto/0000.webp") + 40] ^= 255  # in the first member's data
    (tmp_path / "emoji.zip").write_bytes(raw)
    with pytest.raises(DataError, match=r"noto/0000\.webp.*CRC"):
        load_data(config("emoji", tmp_path))


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK and then nothing")
    with pytest.raises(DataError, match=r"broken\.zip"):
        load_data(config("emoji", tmp_path / "broken.zip"))
    with pytest.raises(DataError, match="no folder or zip"):
        load_data(config("emoji", tmp_path / "none"))
    with pytest.raises(DataError, match=r"mnist_10k\.npz"):
        load_data(config("digits", lay(tmp_path / "digits", {"mnist_10k.npz": b"no archive"})))
