"""Stored artefacts: written whole or not at all, and vouched for by their hash."""

import hashlib
import json
import pathlib

import numpy as np
import pytest

from keras_fisher import artefacts


@pytest.fixture
def vouched(tmp_path):
    """A folder with a file, its manifest's path, and the file's path."""
    file = tmp_path / "model.keras"
    file.write_bytes(b"weights")
    manifest = tmp_path / "manifest.json"
    artefacts.write_manifest(manifest, "python scripts/train.py --seed 3", 3, [file], {"accuracy": 0.99})
    return manifest, file


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A package folder inside a repository folder, in the place of the real ones."""
    package = tmp_path / "repository" / "keras_fisher"
    package.mkdir(parents=True)
    monkeypatch.setattr(artefacts, "_PACKAGE", package)
    return package


def test_saved_model_is_found_in_the_checkout(checkout):
    folder = checkout.parent / "saved_models" / "net"
    folder.mkdir(parents=True)
    assert artefacts.saved_model_path("net") == folder


def test_saved_model_of_the_installed_package_comes_first(checkout):
    for root in (checkout, checkout.parent):
        (root / "saved_models" / "net").mkdir(parents=True)
    assert artefacts.saved_model_path("net") == checkout / "saved_models" / "net"


def test_saved_model_that_is_missing_says_what_to_do(checkout):
    with pytest.raises(FileNotFoundError, match=r"`name` must be a saved model.*'net'.*scripts/"):
        artefacts.saved_model_path("net")


@pytest.mark.parametrize("name", ["", "..", "a/b", "../net", "/net"])
def test_saved_model_name_is_no_path(name):
    with pytest.raises(ValueError, match="`name` must name one folder"):
        artefacts.saved_model_path(name)


def test_saved_model_name_is_a_string():
    with pytest.raises(TypeError, match="`name` must be a string, got 3"):
        artefacts.saved_model_path(3)


def test_sha256_is_that_of_the_bytes(tmp_path):
    content = b"\r\n\x00" * 1_000_000
    (tmp_path / "file").write_bytes(content)
    assert artefacts.sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_atomic_write_writes_and_replaces_in_a_new_folder(tmp_path):
    path = tmp_path / "new" / "file.txt"
    for text in ("first", "second"):
        assert (
            artefacts.write_atomically(path, lambda temporary, text=text: temporary.write_text(text)) == path
        )
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_atomic_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half")
        assert path.read_text() == "old"
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        artefacts.write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_that_is_interrupted_leaves_nothing(tmp_path):
    def write(temporary):
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        artefacts.write_atomically(tmp_path / "file.txt", write)
    assert list(tmp_path.iterdir()) == []


def test_atomic_write_keeps_folder_and_suffix_for_the_writer(tmp_path):
    seen = []
    artefacts.write_atomically(tmp_path / "net.weights.h5", lambda path: seen.append(path) or path.touch())
    assert seen[0].parent == tmp_path
    assert seen[0].name.endswith(".weights.h5")
    assert seen[0].name != "net.weights.h5"


def test_versions_name_what_a_result_depends_on():
    versions = artefacts.versions()
    assert set(versions) == {
        "python",
        "tensorflow",
        "keras",
        "numpy",
        "scipy",
        "scikit-learn",
        "keras-fisher",
    }
    assert versions["numpy"] == np.__version__


def test_manifest_holds_command_seed_hash_size_and_metrics(vouched):
    manifest, file = vouched
    stored = json.loads(manifest.read_text())
    assert stored["command"] == "python scripts/train.py --seed 3"
    assert stored["seed"] == 3
    assert stored["versions"] == artefacts.versions()
    assert stored["files"] == {"model.keras": {"sha256": hashlib.sha256(b"weights").hexdigest(), "bytes": 7}}
    assert stored["metrics"] == {"accuracy": 0.99}
    assert stored["date"].endswith("+00:00")
    assert artefacts.check_manifest(manifest) == stored
    assert sorted(manifest.parent.iterdir()) == [manifest, file]


def test_manifest_takes_numpy_numbers_and_details(tmp_path):
    metrics = {"accuracy": np.float64(0.5), "n": np.int64(3)}
    stored = artefacts.write_manifest(tmp_path / "m.json", "c", None, [], metrics, shape=np.array([1, 2]))
    assert stored["metrics"] == {"accuracy": 0.5, "n": 3}
    assert stored["shape"] == [1, 2]
    assert json.loads((tmp_path / "m.json").read_text()) == stored


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("/opt/venv/bin/python scripts/train.py", "python scripts/train.py"),
        ("python train.py --output=/data/runs/a --seed 0", "python train.py --output=a --seed 0"),
        ("python train.py --output '/data/runs/a'", "python train.py --output 'a'"),
        (
            "python scripts/train.py --output saved_models/a",
            "python scripts/train.py --output saved_models/a",
        ),
    ],
)
def test_manifest_names_no_folder_of_the_machine(tmp_path, command, kept):
    assert artefacts.write_manifest(tmp_path / "m.json", command, 0, [], {})["command"] == kept


def test_manifest_refuses_a_file_outside_its_folder(tmp_path):
    (tmp_path / "outside").touch()
    with pytest.raises(ValueError, match="`files` must lie in the manifest's folder"):
        artefacts.write_manifest(tmp_path / "folder" / "m.json", "c", 0, [tmp_path / "outside"], {})


def test_manifest_refuses_a_detail_that_would_replace_an_entry(tmp_path):
    with pytest.raises(ValueError, match=r"`details` must not replace.*'versions'"):
        artefacts.write_manifest(tmp_path / "m.json", "c", 0, [], {}, versions={})
    assert not (tmp_path / "m.json").exists()


def test_manifest_refuses_what_json_has_not(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        artefacts.write_manifest(tmp_path / "m.json", "c", 0, [], {"accuracy": float("nan")})
    with pytest.raises(TypeError, match="`details` must hold values that JSON has"):
        artefacts.write_manifest(tmp_path / "m.json", "c", 0, [], {}, folder=pathlib.Path("a"))


def test_changed_file_is_reported_by_name_with_a_remedy(vouched):
    manifest, file = vouched
    file.write_bytes(b"weight5")
    with pytest.raises(ValueError, match=r"'model\.keras'.*changed.*make it again: python scripts/train\.py"):
        artefacts.check_manifest(manifest)


def test_missing_file_is_reported_by_name(vouched):
    manifest, file = vouched
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"'model\.keras'.*no such file"):
        artefacts.check_manifest(manifest)


def test_missing_manifest_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="`path` must be a manifest"):
        artefacts.check_manifest(tmp_path / "manifest.json")
