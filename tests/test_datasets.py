"""Data sets: the packaged sample of MNIST, and TensorFlow Datasets."""

import hashlib
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_fisher import artefacts, datasets

FOLDER = pathlib.Path(datasets.__file__).parent


def test_sample_has_the_promised_shapes_types_and_range():
    images, labels = datasets.mnist_sample()
    assert images.shape == (1000, 28, 28, 1)
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0.0, 1.0)
    assert labels.shape == (1000,)
    assert labels.dtype == np.int64


def test_sample_has_100_images_of_each_class():
    np.testing.assert_array_equal(np.bincount(datasets.mnist_sample()[1]), np.full(10, 100))


def test_sample_images_are_whole_pixels_and_all_different():
    images = datasets.mnist_sample()[0]
    # Half a unit in the last place of float32 near 1, times 255.
    np.testing.assert_allclose(images * 255, np.rint(images * 255), atol=255 * 2**-24)
    assert len(np.unique(images.reshape(1000, -1), axis=0)) == 1000


def test_sample_positions_ascend_within_the_test_split():
    positions = datasets.mnist_sample_positions()
    assert positions.shape == (1000,)
    assert positions.dtype == np.int64
    assert np.all(np.diff(positions) > 0)
    assert positions[0] >= 0
    assert positions[-1] < 10_000


def test_sample_is_the_file_its_manifest_vouches_for():
    manifest = artefacts.check_manifest(FOLDER / "mnist_sample.json")
    assert manifest["files"]["mnist_sample.npz"]["bytes"] <= 300_000
    with np.load(FOLDER / "mnist_sample.npz", allow_pickle=False) as stored:
        hashes = {name: hashlib.sha256(stored[name].tobytes()).hexdigest() for name in stored.files}
    assert hashes == manifest["arrays_sha256"]


@pytest.fixture
def ramp(monkeypatch, tmp_path):
    """MNIST in the place of the real one: image i is i throughout, for i = 0, ..., 255, with label i % 10."""

    def as_dataset(builder, split, **options):
        pixels = tf.range(256)
        images = tf.cast(tf.tile(pixels[:, None, None, None], (1, 28, 28, 1)), tf.uint8)
        return tf.data.Dataset.from_tensor_slices({"image": images, "label": tf.cast(pixels % 10, tf.int64)})

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with tfds.testing.mock_data(as_dataset_fn=as_dataset):
        yield


def test_load_scales_to_the_unit_interval_in_order(ramp, tmp_path):
    images, labels = datasets.load("mnist", "test", data_dir=tmp_path)
    assert images.shape == (256, 28, 28, 1)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images[:, 0, 0, 0], np.float32(np.arange(256) / 255))
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, np.arange(256) % 10)


def test_load_names_the_data_sets_it_knows():
    with pytest.raises(
        ValueError, match="`name` must be one of 'mnist', 'fashion_mnist', 'cifar10', got 'svhn'"
    ):
        datasets.load("svhn", "test")


def test_load_takes_a_split_as_a_string():
    with pytest.raises(TypeError, match="`split` must be a string, got 3"):
        datasets.load("mnist", 3)


def test_load_says_what_to_do_without_a_network(monkeypatch, tmp_path):
    def refuse(builder, **options):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", refuse)
    with pytest.raises(FileNotFoundError, match=r"'mnist'.*no route to host.*with a network.*TFDS_DATA_DIR"):
        datasets.load("mnist", "test", data_dir=tmp_path)


@pytest.fixture
def prepared():
    if not tfds.builder("mnist").is_prepared():
        pytest.skip("MNIST is not prepared: run `keras_fisher.datasets.load('mnist', 'test')` with a network")


@pytest.mark.slow
def test_sample_is_the_test_split_at_its_positions(prepared):
    images, labels = datasets.load("mnist", "test")
    assert images.shape == (10_000, 28, 28, 1)
    positions = datasets.mnist_sample_positions()
    sample_images, sample_labels = datasets.mnist_sample()
    np.testing.assert_array_equal(images[positions], sample_images)
    np.testing.assert_array_equal(labels[positions], sample_labels)
    firsts = [np.flatnonzero(labels == label)[:100] for label in range(10)]
    np.testing.assert_array_equal(np.sort(np.concatenate(firsts)), positions)


@pytest.mark.slow
def test_load_slices_in_a_fixed_order(prepared):
    images, labels = datasets.load("mnist", "test[10:30]")
    whole_images, whole_labels = datasets.load("mnist", "test")
    np.testing.assert_array_equal(images, whole_images[10:30])
    np.testing.assert_array_equal(labels, whole_labels[10:30])


@pytest.mark.slow
@pytest.mark.parametrize("split", ["validation", "test[:x]", "test[:0]", "test[20000:]", ""])
def test_load_refuses_a_split_that_is_not_there_or_empty(prepared, split):
    with pytest.raises(ValueError, match="`split` must be a split of mnist with at least one image, got"):
        datasets.load("mnist", split)
