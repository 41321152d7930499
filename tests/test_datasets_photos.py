"""Photos: which files of a folder, in which order, with which labels, and what is cut out of them."""

import collections.abc
import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from keras_fisher import datasets

RED = (255, 0, 0)


def save(path: pathlib.Path, color=RED, size=(8, 8), mode="RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)


def labels_of(folder) -> dict[str, int | None]:
    return {photo.name: photo.label for photo in datasets.photos(folder, size=4)}


@pytest.mark.parametrize("is_reversed", [True, False])
def test_photos_come_in_the_order_of_their_paths_as_unit_floats(tmp_path, monkeypatch, is_reversed):
    # A file system lists in any order.
    listed, order = pathlib.Path.rglob, {"reverse": is_reversed}
    monkeypatch.setattr(pathlib.Path, "rglob", lambda path, pattern: sorted(listed(path, pattern), **order))
    for name, color in [("b.png", (0, 0, 255)), ("a.bmp", RED), ("c/a.PNG", (0, 255, 0))]:
        save(tmp_path / name, color)
    found = list(datasets.photos(tmp_path, size=4))
    assert [photo.name for photo in found] == ["a.bmp", "b.png", "c/a.PNG"]
    for photo, color in zip(found, np.eye(3)[[0, 2, 1]], strict=True):
        assert photo.image.shape == (4, 4, 3)
        assert photo.image.dtype == np.float32
        np.testing.assert_array_equal(photo.image, np.broadcast_to(color, (4, 4, 3)))


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".bmp", ".webp", ".JPEG"])
def test_photos_read_every_format_that_they_name(tmp_path, suffix):
    save(tmp_path / f"a{suffix}")
    (photo,) = datasets.photos(str(tmp_path), size=2)
    # JPEG and WebP keep a plain colour to within a few of 255 levels.
    np.testing.assert_allclose(photo.image, np.broadcast_to((1, 0, 0), (2, 2, 3)), atol=5 / 255)


def test_photos_leave_out_hidden_files_other_files_and_folders_called_like_images(tmp_path):
    for name in ("a.png", ".b.png", ".thumbnails/c.png"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    assert list(labels_of(tmp_path)) == ["a.png"]


def test_labels_are_the_last_numbers_of_the_names(tmp_path):
    names = {"x_03_990.png": 990, "y_5x.png": None, "y_7.8.png": None, "7.png": None, "z/w_0.png": 0}
    for name in names:
        save(tmp_path / name)
    assert labels_of(tmp_path) == dict(sorted(names.items()))


def test_labels_are_the_positions_of_the_subfolders_whatever_the_names_say(tmp_path):
    # ImageNet's own: the number in the name counts images.
    for name in ("n01443537/n01443537_10007.png", "n01440764/n01440764_10026.png", "n01443537/deep/a.png"):
        save(tmp_path / name)
    expected = {
        "n01440764/n01440764_10026.png": 0,
        "n01443537/deep/a.png": 1,
        "n01443537/n01443537_10007.png": 1,
    }
    assert labels_of(tmp_path) == expected


def test_subfolders_without_images_count_and_hidden_ones_do_not(tmp_path):
    save(tmp_path / "c/a.png")
    (tmp_path / "b").mkdir()
    (tmp_path / ".a").mkdir()
    assert labels_of(tmp_path) == {"c/a.png": 1}


def test_subfolders_are_no_labels_beside_an_image_in_the_folder_itself(tmp_path):
    for name in ("a.png", "b/c.png"):
        save(tmp_path / name)
    assert labels_of(tmp_path) == {"a.png": None, "b/c.png": None}


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [("L", 51, (51, 51, 51)), ("RGBA", (255, 102, 0, 128), (255, 102, 0)), ("1", 1, (255, 255, 255))],
)
def test_grey_and_transparent_files_become_rgb(tmp_path, mode, color, expected):
    save(tmp_path / "a.png", color, mode=mode)
    (photo,) = datasets.photos(tmp_path, size=2)
    np.testing.assert_array_equal(photo.image, np.broadcast_to(np.float32(expected) / 255, (2, 2, 3)))


def test_photos_are_read_one_by_one(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"not an image")
    found = datasets.photos(tmp_path, size=4)
    assert isinstance(found, collections.abc.Iterator)
    assert next(found).name == "a.png"
    with pytest.raises(ValueError, match=r"`folder` must hold images only, got '.*b\.png'"):
        next(found)


def test_truncated_file_is_refused(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, "png")
    for share in (0.1, 0.9):
        (tmp_path / "a.png").write_bytes(buffer.getvalue()[: int(share * len(buffer.getvalue()))])
        with pytest.raises(ValueError, match=r"`folder` must hold images only, got '.*a\.png'"):
            next(datasets.photos(tmp_path))


def test_image_of_too_many_pixels_is_refused_by_name(tmp_path, monkeypatch):
    save(tmp_path / "a.png", size=(100, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"`folder` must hold images only, got '.*a\.png'.*bomb"):
        next(datasets.photos(tmp_path))


def test_image_of_16_bits_is_refused_not_clipped(tmp_path):
    Image.fromarray(np.full((8, 8), 30_000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png'.*`image` must have 8 bits a channel, got mode 'I;16'"):
        next(datasets.photos(tmp_path))


# Called, not iterated: the arguments are checked at the call.
@pytest.mark.parametrize(
    ("settings", "error", "rule"),
    [
        ({"size": 0}, ValueError, "`size` must be at least 1, got 0"),
        ({"size": 2.0}, TypeError, r"`size` must be an integer, got 2\.0"),
        ({"crop": 0}, ValueError, r"`crop` must be a finite number in \(0, 1\], got 0"),
        ({"crop": 1.1}, ValueError, r"`crop` must be a finite number in \(0, 1\], got 1\.1"),
        ({"crop": "1"}, TypeError, "`crop` must be a real number, got '1'"),
    ],
)
def test_bad_size_and_crop_are_refused_at_the_call(tmp_path, settings, error, rule):
    save(tmp_path / "a.png")
    with pytest.raises(error, match=rule):
        datasets.photos(tmp_path, **settings)
    with Image.new("RGB", (4, 4)) as image, pytest.raises(error, match=rule):
        datasets.central_square(image, **({"size": 2, "crop": 1.0} | settings))


def test_folder_that_is_none_is_refused_at_the_call(tmp_path):
    for folder in (3, None):
        with pytest.raises(TypeError, match=f"`folder` must be a path, got {folder}"):
            datasets.photos(folder)
    save(tmp_path / "file" / "a.png")
    for folder in (tmp_path / "none", tmp_path / "file" / "a.png"):
        with pytest.raises(FileNotFoundError, match=f"`folder` must be a folder, got '{folder}'"):
            datasets.photos(folder)


def test_folder_without_images_is_refused_at_the_call(tmp_path):
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(ValueError, match=r"`folder` must hold \.jpg, .*, \.webp files, got"):
        datasets.photos(tmp_path)


@pytest.mark.parametrize("is_upright", [True, False])
@pytest.mark.parametrize(("size", "crop"), [(10, 0.5), (28, 0.875), (8, 0.5), (64, 0.875)])
def test_central_square_of_a_ramp_is_the_ramp_in_the_middle(size, crop, is_upright):
    rows, columns = 32, 64
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    pixels = np.stack([3 * x + 10, 6 * y + 10, np.full_like(x, 77)], axis=-1).astype(np.uint8)
    if is_upright:
        pixels = pixels.transpose(1, 0, 2)
    found = datasets.central_square(Image.fromarray(pixels), size, crop)
    assert found.shape == (size, size, 3)
    assert found.dtype == np.float32
    # The centre of the image stays the centre, and the pixels of the result lie crop · 32 / size apart. The
    # centre of pixel i is at i + 1/2.
    steps = (np.arange(size) + 0.5 - size / 2) * crop * 32 / size
    along_x, along_y = 3 * (steps + columns / 2 - 0.5) + 10, 6 * (steps + rows / 2 - 0.5) + 10
    expected = np.empty((size, size, 3))
    expected[...] = [0, 0, 77]
    expected[..., 0] = along_x[:, None] if is_upright else along_x
    expected[..., 1] = along_y if is_upright else along_y[:, None]
    # Pillow rounds to 8 bits twice, once an axis, and its few weights keep the place of a ramp to within some
    # hundredths of a pixel.
    np.testing.assert_allclose(255 * found, expected, atol=1.5)


def test_central_square_averages_what_it_shrinks():
    # Stripes of one pixel: an interpolation between nearest pixels would keep some.
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, ::2] = 255
    found = datasets.central_square(Image.fromarray(pixels), 8, 0.5)
    np.testing.assert_allclose(found, 0.5, atol=0.05)


@pytest.mark.parametrize("image", [np.zeros((8, 8, 3), np.uint8), "a.png", None])
def test_central_square_takes_pillow_images(image):
    with pytest.raises(TypeError, match="`image` must be a Pillow image, got"):
        datasets.central_square(image, 4, 1.0)
