"""The command line: quick to answer, and clear about what it will not do before it does anything."""

import importlib.metadata
import os
import pathlib
import subprocess
import sys

import matplotlib
import pytest
from typer.testing import CliRunner

import keras_fisher as kf
from keras_fisher import cli, demo

HEAVY = ("keras", "matplotlib", "numpy", "sklearn", "tensorflow", "tensorflow_datasets")


@pytest.fixture
def runs(monkeypatch):
    """The arguments of each run of the demo, which only takes note of them."""
    calls = []

    def run_demo(num_images, seed, progress):
        calls.append((num_images, seed, progress))

    monkeypatch.setattr(demo, "run_demo", run_demo)
    monkeypatch.setattr(demo, "print_report", lambda report, console: console.print("tables"))
    monkeypatch.setattr(demo, "write_figure", lambda report, path: path.write_bytes(b"figure"))
    return calls


@pytest.mark.parametrize(
    ("arguments", "code", "shown"),
    [
        (["--help"], 0, "demo"),
        (["demo", "--help"], 0, "--num-images"),
        (["--version"], 0, f"keras-fisher {kf.__version__}"),
        (["demo", "--output", "no/such/folder/figure.png"], 2, "folder that exists"),
    ],
)
def test_answers_without_importing_tensorflow(tmp_path, arguments, code, shown):
    # Matplotlib knows the endings that it can write, and brings NumPy along.
    heavy = HEAVY if code == 0 else ("keras", "sklearn", "tensorflow")
    program = (
        "import sys\n"
        "from keras_fisher.cli import app\n"
        "try:\n"
        "    app()\n"
        "finally:\n"
        f"    print('imported', sorted(set(sys.modules) & set({heavy})), file=sys.stderr)\n"
    )
    finished = _run_python(tmp_path, program, *arguments)
    assert finished.returncode == code
    assert shown in finished.stdout + finished.stderr
    assert finished.stderr.splitlines()[-1] == "imported []"


def test_version_is_that_of_the_package():
    result = CliRunner().invoke(cli.app, ["--version"])
    assert result.output == f"keras-fisher {kf.__version__}\n"
    if "unknown" not in kf.__version__:
        assert kf.__version__ == importlib.metadata.version("keras-fisher")


def test_demo_stays_a_command_of_its_own():
    assert CliRunner().invoke(cli.app, ["--output", "figure.png"]).exit_code == 2
    assert "demo" in CliRunner().invoke(cli.app, []).output


def test_demo_passes_its_options_on_and_ends_with_the_path(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # A path is never broken to fit.
    output = tmp_path / "a name that is longer than a narrow terminal [bold].png"
    arguments = ["demo", "--output", str(output), "--num-images", "70", "--seed", "3"]
    for quiet in (False, True):
        result = CliRunner().invoke(cli.app, arguments + ["--quiet"] * quiet)
        assert result.exit_code == 0
        assert result.stdout.splitlines()[-2:] == ["tables", f"Figure: {output}"]
        assert output.read_bytes() == b"figure"
    assert runs == [(70, 3, True), (70, 3, False)]


def test_demo_takes_all_images_and_writes_here_by_default(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.app, ["demo"])
    assert result.exit_code == 0
    assert runs == [(1000, 0, True)]
    assert [path.name for path in tmp_path.iterdir()] == ["fisher_demo.png"]


@pytest.mark.parametrize(
    ("output", "rule"),
    [
        ("missing/figure.png", "`--output` must lie in a folder that exists, got 'missing/figure.png'."),
        ("figure", "`--output` must end in one of"),
        ("figure.docx", "`--output` must end in one of"),
        ("folder.png", "`--output` must name a file, got the folder 'folder.png'."),
        ("file.txt/figure.png", "`--output` must lie in a folder that exists"),
    ],
)
def test_output_that_cannot_be_written_is_refused_before_any_work(runs, tmp_path, monkeypatch, output, rule):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file.txt").touch()
    result = CliRunner().invoke(cli.app, ["demo", "--output", output])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {rule}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert runs == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt", "folder.png"]


@pytest.mark.skipif(not pathlib.Path("/proc/self").is_dir(), reason="needs a folder that nobody can write to")
def test_folder_that_cannot_be_written_to_is_refused_before_any_work(runs):
    result = CliRunner().invoke(cli.app, ["demo", "--output", "/proc/figure.png"])
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: `--output` must lie in a folder that can be written to")
    assert result.stderr.count("\n") == 1
    assert runs == []


@pytest.mark.parametrize(
    "arguments", [["--num-images", "49"], ["--num-images", "1001"], ["--seed", "-1"], ["--seed", "x"]]
)
def test_number_out_of_range_is_refused_before_any_work(runs, arguments):
    result = CliRunner().invoke(cli.app, ["demo", *arguments])
    assert result.exit_code == 2
    assert arguments[0] in result.stderr
    assert runs == []


def test_disk_that_fills_up_while_drawing_is_one_line(runs, tmp_path, monkeypatch):
    def write_figure(report, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(demo, "write_figure", write_figure)
    result = CliRunner().invoke(cli.app, ["demo", "--output", str(tmp_path / "figure.png")])
    assert result.exit_code == 1
    assert "tables" in result.stdout
    assert "Figure:" not in result.stdout
    assert result.stderr.count("\n") == 1
    assert "No space left on device" in result.stderr


def test_chatter_is_held_back(capfd):
    with cli.held_back_stderr():
        os.write(2, b"chatter")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_chatter_is_shown_when_the_work_fails(capfd):
    def fail():
        os.write(2, b"the reason")
        raise ImportError

    with pytest.raises(ImportError), cli.held_back_stderr():
        fail()
    assert capfd.readouterr().err == "the reason"


def test_demo_as_a_newcomer_sees_it(tmp_path):
    output = tmp_path / "figure.png"
    program = "from keras_fisher.cli import app; app()"
    finished = _run_python(tmp_path, program, "demo", "--output", str(output), "--num-images", "50")
    assert finished.returncode == 0
    assert finished.stderr == ""
    assert finished.stdout.splitlines()[-1] == f"Figure: {output}"
    for stage in ("Fooling rates", "least OSSA", "Detectors"):
        assert stage in finished.stdout
    assert matplotlib.image.imread(output).shape == (1100, 1600, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


def _run_python(folder, program, *arguments):
    """Runs a program in a fresh Python that finds this package, in `folder`, and returns it finished."""
    root = pathlib.Path(kf.__file__).parent.parent
    # What another test has set is no business of a newcomer's.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "MPL"))}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(root), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
