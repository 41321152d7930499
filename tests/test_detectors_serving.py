"""Exported detectors where they are served: without keras-fisher, in C, over the network, under abuse."""

from __future__ import annotations

import concurrent.futures
import glob
import http.server
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import artefacts, testing

ROOT = pathlib.Path(__file__).parent.parent
NAME = "lenet5_mnist_detector"
OUTPUTS = {"class_probabilities", "eigenvalues", "adversarial_probability", "is_adversarial", "is_valid"}
BATCH = 64


@pytest.fixture(scope="module")
def detector():
    return kf.load_detector(artefacts.saved_model_path(NAME))


@pytest.fixture(scope="module")
def images(sample, classifier):
    """Digits and attacks, so that there are verdicts of both kinds; the last has a pixel that is NaN."""
    clean, labels = sample[0][:BATCH], sample[1][:BATCH]
    images = clean.copy()
    images[::2] = kf.attacks.FGM(epsilon=3.0)(classifier, clean[::2], labels[::2]).images
    images[-1, 5, 5, 0] = np.nan
    return images


@pytest.fixture(scope="module")
def known(detector, images):
    """What the detector itself says of them, in one batch, with a neutral image in the place of the last."""
    asked = images.copy()
    asked[-1] = 0.0
    scores = detector.score_samples(asked)
    eigenvalues = kf.fisher_spectrum(detector.classifier, asked).eigenvalues
    assert 10 < detector.predict(asked[:-1]).sum() < 54
    scores[-1], eigenvalues[-1] = np.nan, np.nan
    return {"adversarial_probability": scores, "eigenvalues": eigenvalues}


@pytest.fixture(scope="module")
def portable(detector, tmp_path_factory):
    """The base path of an export that needs TensorFlow only."""
    base = tmp_path_factory.mktemp("portable") / NAME
    detector.export(base)
    return base


def assert_known(outputs, known):
    """Probabilities to the bit; eigenvalues to five digits, those under 1e-10 λ₁ to four.

    Another process sums in another order. The smallest eigenvalues are of classes whose logits lie 40 below
    the top one's: a rounding there is 4e-6, and a relative error of the eigenvalue (6e-5 was seen at 1e-17).
    """
    assert set(outputs) == OUTPUTS
    np.testing.assert_array_equal(outputs["adversarial_probability"], known["adversarial_probability"])
    found, expected = (np.log10(values["eigenvalues"][:-1]).astype(float) for values in (outputs, known))
    is_small = expected < expected[:, :1] - 10
    assert 0.5 < np.mean(~is_small) < 1
    np.testing.assert_array_less(np.abs(found - expected), np.where(is_small, 1e-4, 1e-5))
    np.testing.assert_array_equal(outputs["is_valid"], [True] * (BATCH - 1) + [False])
    assert np.isnan(outputs["eigenvalues"][-1]).all()
    assert outputs["is_adversarial"][-1]
    flagged = known["adversarial_probability"][:-1] >= 0.5
    np.testing.assert_array_equal(outputs["is_adversarial"][:-1], flagged)


def run_program(program, *arguments, timeout=300, **environment):
    """Returns what a fresh Python prints."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    environment = os.environ | environment
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-3000:]}"
    return done.stdout


# TensorFlow alone

ASK = """
import sys
import numpy as np
import tensorflow as tf

folder, images, answer = sys.argv[1:4]
for library in sys.argv[4:]:
    tf.load_op_library(library)
loaded = tf.saved_model.load(folder)
images = tf.constant(np.load(images))
outputs = loaded.signatures["serving_default"](images=images)
alone = loaded.signatures["eigenvalues"](images=images)["eigenvalues"]
np.testing.assert_array_equal(alone, outputs["eigenvalues"])
np.savez(answer, **{name: output.numpy() for name, output in outputs.items()})
# Keras and scikit-learn are no strangers: TensorFlow imports them.
assert not {"keras_fisher", "ydf", "ydf_tf"} & set(sys.modules)
"""


def test_portable_export_needs_tensorflow_only(portable, images, known, tmp_path):
    np.save(tmp_path / "images.npy", images)
    run_program(ASK, portable / "1", tmp_path / "images.npy", tmp_path / "answer.npz")
    assert_known(np.load(tmp_path / "answer.npz"), known)


@pytest.mark.slow  # In a process of its own; test_detectors_export.py has these heads too.
def test_export_with_a_head_of_ydf_needs_its_op_only(tmp_path):
    pytest.importorskip("ydf", reason="needs keras-fisher[trees]")
    ydf_tf = pytest.importorskip("ydf_tf", reason="needs keras-fisher[trees]")
    shape = (6, 6, 1)
    net = kf.Classifier(testing.small_net("dense", num_classes=4, image_shape=shape))
    images = np.random.default_rng(0).uniform(0.2, 0.8, (40, *shape)).astype(np.float32)
    # A short step, so that the trees do not agree on every image.
    attacked = kf.attacks.FGM(epsilon=0.1)(net, images).images
    detector = kf.FisherDetector(net, head="ydf_random_forest").fit(images, attacked)
    folder = detector.export(tmp_path / "served")
    scores = detector.score_samples(images)
    # The export holds the trees itself: nothing of the detector that wrote it may be needed.
    del detector
    np.save(tmp_path / "images.npy", images)
    library = glob.glob(str(pathlib.Path(ydf_tf.__file__).parent / "*.so"))
    run_program(ASK, folder, tmp_path / "images.npy", tmp_path / "answer.npz", *library)
    found = np.load(tmp_path / "answer.npz")["adversarial_probability"]
    np.testing.assert_array_equal(found, scores)
    assert np.unique(scores).size > 10


# C

COMPILER = shutil.which("cc") or shutil.which("gcc")


@pytest.fixture(scope="module")
def c_client(tmp_path_factory):
    if not COMPILER:
        pytest.skip("there is no C compiler, neither cc nor gcc")
    program = tmp_path_factory.mktemp("c") / "detector_client"
    folder = pathlib.Path(tf.sysconfig.get_lib())
    libraries = [folder / f"libtensorflow_{part}.so.2" for part in ("cc", "framework")]
    # A fifth of the time that the usual linker takes over a library of a gigabyte.
    gold = ["-fuse-ld=gold"] if shutil.which("ld.gold") else []
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    source = ROOT / "examples" / "detector_client.c"
    paths = [f"-I{tf.sysconfig.get_include()}", f"-Wl,-rpath,{folder}"]
    command = [COMPILER, *warnings, *gold, *paths, source, "-o", program, *libraries]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    return program


def tensor_names(folder, signature="serving_default"):
    """Returns the names of the graph's tensors by those of the inputs and outputs of a signature."""
    from tensorflow.python.saved_model import loader_impl

    (graph,) = loader_impl.parse_saved_model(str(folder)).meta_graphs
    definition = graph.signature_def[signature]
    return tuple(
        {name: tensor.name for name, tensor in side.items()}
        for side in (definition.inputs, definition.outputs)
    )


def test_c_program_gets_the_very_same_probabilities(c_client, portable, images, known, tmp_path):
    images.tofile(tmp_path / "images.f32")
    inputs, outputs = tensor_names(portable / "1")
    names = [inputs["images"], outputs["adversarial_probability"]]

    def ask(*arguments):
        # No environment: no Python, and nothing of this one.
        command = [c_client, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env={}, timeout=300, check=False)

    shape = list(map(str, images.shape))
    done = ask(portable / "1", *names, tmp_path / "images.f32", *shape)
    assert done.returncode == 0, done.stderr[-3000:]
    # 17 digits name one double.
    found = np.array([float(line) for line in done.stdout.split()])
    np.testing.assert_array_equal(found, known["adversarial_probability"])

    for arguments, text in [
        ([portable, *names, tmp_path / "images.f32", *shape], "detector_client: "),
        ([portable / "1", "nothing:0", names[1], tmp_path / "images.f32", *shape], "nothing:0: is not in"),
        ([portable / "1", *names, tmp_path / "images.f32", "65", *shape[1:]], "holds fewer pixels"),
        ([portable / "1"], "usage"),
    ]:
        refused = ask(*arguments)
        assert refused.returncode == 1
        assert text in refused.stderr


# A server


@pytest.fixture(scope="module")
def client():
    """examples/serving_client.py, which belongs to no package."""
    specification = importlib.util.spec_from_file_location(
        "serving_client", ROOT / "examples" / "serving_client.py"
    )
    module = importlib.util.module_from_spec(specification)
    sys.modules["serving_client"] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules["serving_client"]


class Session:
    """A SavedModel as TensorFlow Serving runs it: a session, fed by the names in a signature."""

    def __init__(self, folder):
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            loaded = tf.compat.v1.saved_model.loader.load(self.session, ["serve"], str(folder))
        self.signatures = loaded.signature_def

    def run(self, signature, inputs):
        if signature not in self.signatures:
            raise ValueError(f"no signature {signature}")
        definition = self.signatures[signature]
        if set(inputs) != set(definition.inputs):
            raise ValueError(f"inputs {sorted(inputs)}, expected {sorted(definition.inputs)}")
        for name, array in inputs.items():
            if tf.as_dtype(array.dtype).as_datatype_enum != definition.inputs[name].dtype:
                raise ValueError(f"{name} has dtype {array.dtype}")
        feeds = {definition.inputs[name].name: array for name, array in inputs.items()}
        fetches = {name: tensor.name for name, tensor in definition.outputs.items()}
        return self.session.run(fetches, feeds)


@pytest.fixture(scope="module")
def session(portable):
    session = Session(portable / "1")
    yield session
    session.session.close()


@pytest.fixture(scope="module")
def grpc_port(session):
    """A port of the loopback where the real stubs of TensorFlow Serving's API are answered."""
    reason = "needs keras-fisher[serving]"
    grpc = pytest.importorskip("grpc", reason=reason)
    stubs = pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc", reason=reason)
    from tensorflow_serving.apis import predict_pb2

    class Servicer(stubs.PredictionServiceServicer):
        def Predict(self, request, context):  # noqa: N802
            if request.model_spec.name != NAME:
                context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.model_spec.name}")
            try:
                inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
                outputs = session.run(request.model_spec.signature_name, inputs)
            except (tf.errors.OpError, ValueError, TypeError) as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            response = predict_pb2.PredictResponse(model_spec=request.model_spec)
            for name, output in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(output))
            return response

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    stubs.add_PredictionServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(0).wait(30)


@pytest.fixture(scope="module")
def rest_port(session):
    """A port where requests in TensorFlow Serving's row format are answered."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                assert self.path == f"/v1/models/{NAME}:predict"
                ((name, _),) = body["instances"][0].items()
                rows = [row[name] for row in body["instances"]]
                is_bytes = name.endswith("_bytes")
                array = np.array([decode(row) for row in rows], object if is_bytes else np.float32)
                outputs = session.run(body["signature_name"], {name: array})
                columns = {name: output.tolist() for name, output in outputs.items()}
                predictions = [
                    dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
                ]
                if len(columns) == 1:
                    (predictions,) = columns.values()
                self.answer(200, {"predictions": predictions})
            except (tf.errors.OpError, ValueError, TypeError, AssertionError) as error:
                self.answer(400, {"error": str(error)})

        def answer(self, status, content):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content, indent=4).encode())

        def log_message(self, *arguments):
            pass

    def decode(row):
        import base64

        return base64.b64decode(row["b64"], validate=True) if isinstance(row, dict) else row

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join(30)
    server.server_close()


@pytest.fixture(params=["gRPC", "REST"])
def ask(request, client):
    """The client of each kind, towards its server."""
    kind = client.GrpcClient if request.param == "gRPC" else client.RestClient
    return kind("127.0.0.1", request.getfixturevalue(f"{request.param.lower()}_port"), timeout=120.0)


def pngs(count):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 28, 28, 1)).astype(np.uint8)
    return pixels, [tf.io.encode_png(one).numpy() for one in pixels]


def test_client_gets_the_numbers_of_the_detector(ask, images, known, detector):
    outputs = ask.predict(images)
    assert_known(outputs, known)
    np.testing.assert_array_equal(ask.predict(images, "eigenvalues")["eigenvalues"], outputs["eigenvalues"])
    pixels, files = pngs(5)
    encoded = ask.predict(files, "encoded_images")
    assert set(encoded) == OUTPUTS
    expected = detector.score_samples(pixels / np.float32(255))
    np.testing.assert_array_equal(encoded["adversarial_probability"], expected)


def test_error_arrives_as_a_status_and_the_server_serves_on(ask, client, images, known):
    _, files = pngs(2)
    wrong = {
        "28 x 28 pixels": ([tf.io.encode_png(np.zeros((27, 28, 1), np.uint8)).numpy()], "encoded_images"),
        "PNG or JPEG": ([files[0], b"nonsense"], "encoded_images"),
        "shape": (np.zeros((2, 28, 27, 1), np.float32), "serving_default"),
    }
    for text, (inputs, signature) in wrong.items():
        with pytest.raises(client.ServingError, match=text) as caught:
            ask.predict(inputs, signature)
        assert "INVALID_ARGUMENT" in str(caught.value) or ": 400, " in str(caught.value)
        assert_known(ask.predict(images), known)
    stranger = type(ask)(ask.host, ask.port, "another")
    with pytest.raises(client.ServingError, match=r"NOT_FOUND, no model another|: 400, "):
        stranger.predict(images)


def test_wrong_input_never_reaches_the_server(client):
    for inputs in ([], np.zeros((0, 28, 28, 1))):
        with pytest.raises(ValueError, match="nothing to ask about"):
            client.RestClient(port=1).predict(inputs)
    with pytest.raises(ValueError, match="`signature` must be one of serving_default"):
        client.RestClient(port=1).predict(np.zeros((1, 28, 28, 1)), "magic")


def test_server_that_is_not_there_is_reported(client):
    # Port 1 is TCPMUX, which nothing answers.
    with pytest.raises(client.ServingError, match=r"http://127\.0\.0\.1:1/v1/.* cannot be reached"):
        client.RestClient("127.0.0.1", 1).predict(np.zeros((1, 2)))
    pytest.importorskip("tensorflow_serving", reason="needs keras-fisher[serving]")
    with pytest.raises(client.ServingError, match=r"127\.0\.0\.1:1: (UNAVAILABLE|DEADLINE_EXCEEDED)"):
        client.GrpcClient("127.0.0.1", 1, timeout=20.0).predict(np.zeros((1, 2)))


def test_json_holds_every_float32_and_every_byte(client):
    images = np.array([[0.1, 1 / 3], [np.float32(1e-38), np.nan], [np.inf, -0.0]], np.float32)
    body = client.request_body(images)
    read = json.loads(body)
    assert read["signature_name"] == "serving_default"
    found = np.array([row["images"] for row in read["instances"]], np.float32)
    assert found.tobytes() == images.tobytes()
    assert b"NaN" in body
    assert b"Infinity" in body
    files = [b"\x89PNG\x00", b"\x00\xff\x00\x00"]
    read = json.loads(client.request_body(files, "encoded_images"))
    assert read == {
        "signature_name": "encoded_images",
        "instances": [{"image_bytes": {"b64": "iVBORwA="}}, {"image_bytes": {"b64": "AP8AAA=="}}],
    }


def test_answer_of_tensorflow_serving_is_read(client):
    # As TensorFlow Serving writes it: indented, whole floats with .0, NaN and infinity as they are.
    body = b"""{
    "predictions": [
        {
            "adversarial_probability": 0.10000000000000001,
            "eigenvalues": [3e+20, 1.0],
            "is_adversarial": false,
            "is_valid": true
        },
        {
            "adversarial_probability": NaN,
            "eigenvalues": [NaN, NaN],
            "is_adversarial": true,
            "is_valid": false
        }
    ]
}"""
    outputs = client.parse_response(body)
    np.testing.assert_array_equal(outputs["adversarial_probability"], [0.1, np.nan])
    np.testing.assert_array_equal(outputs["eigenvalues"], [[3e20, 1.0], [np.nan, np.nan]])
    assert outputs["is_valid"].dtype == bool
    alone = client.parse_response(b'{"predictions": [[3e+20, 1.0], [NaN, NaN]]}', "eigenvalues")
    np.testing.assert_array_equal(alone["eigenvalues"], outputs["eigenvalues"])
    for broken in (b"", b"<html>", b"[]", b"{}", b'{"predictions": 3}', b'{"predictions": [{"a": 1}, {}]}'):
        with pytest.raises(client.ServingError, match="cannot be read"):
            client.parse_response(broken)


@pytest.mark.parametrize("grpc", [False, True])
def test_command_line_tells_each_image(client, request, grpc, images, known, tmp_path, capsys):
    port = request.getfixturevalue("grpc_port" if grpc else "rest_port")
    common = ["--host", "127.0.0.1", "--port", str(port), *(["--grpc"] if grpc else [])]
    np.save(tmp_path / "images.npy", images)
    assert client.main([*common, str(tmp_path / "images.npy")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == BATCH
    scores = known["adversarial_probability"]
    for row, line in enumerate(lines[:-1]):
        verdict = "ADVERSARIAL" if scores[row] >= 0.5 else "clean"
        assert line.startswith(f"{row}: {verdict}")
        assert f"probability {scores[row]:.3f}" in line
    assert lines[-1].startswith(f"{BATCH - 1}: NOT VALID")

    quiet = np.flatnonzero(scores < 0.3)[:3]
    np.save(tmp_path / "images.npy", images[quiet])
    assert client.main([*common, str(tmp_path / "images.npy")]) == 0

    _, files = pngs(2)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, file in zip(paths, files, strict=True):
        path.write_bytes(file)
    capsys.readouterr()
    client.main([*common, *map(str, paths)])
    assert [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()] == list(map(str, paths))

    for arguments, text in [
        ([str(tmp_path / "none.png")], "No such file"),
        ([str(tmp_path / "images.npy"), str(paths[0])], "one .npy file, or image files"),
        (["--model", "another", str(paths[0])], "another" if grpc else "400"),
    ]:
        assert client.main([*common, *arguments]) == 2
        assert text in capsys.readouterr().err


# Abuse

ABUSE = r'''
import collections, faulthandler, io, json, struct, sys, warnings, zlib

import numpy as np
import tensorflow as tf

warnings.simplefilter("ignore")
loaded = tf.saved_model.load(sys.argv[1])
good = np.load(sys.argv[2])
generator = np.random.default_rng(0)
SHAPE = good.shape[1:]
EXPECTED = (tf.errors.OpError, ValueError, TypeError)


def some(most=6):
    return good[generator.integers(0, len(good), generator.integers(1, most + 1))].copy()


def choice(options):
    return options[generator.integers(0, len(options))]


def png(pixels):
    return tf.io.encode_png(pixels).numpy()


def jpeg(pixels):
    return tf.io.encode_jpeg(pixels).numpy()


def noise(*shape):
    return generator.integers(0, 256, shape).astype(np.uint8)


def bomb(side):
    """A small PNG of many black pixels."""

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 1) * side))
    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# Each returns what is to come of it, the name of a signature, and its arguments. An "answer" is checked with
# the pixels; "either" may be refused, or taken as float32 and checked like that.


def bad_pixels():
    images = some()
    for row in range(len(images)):
        if generator.random() < 0.6:
            size = generator.integers(1, 8)
            places = tuple(generator.integers(0, side, size) for side in SHAPE)
            images[row][places] = choice([np.nan, np.inf, -np.inf, 1.0001, -1e-6, 255, -1e30, 3.4e38])
    return "answer", "serving_default", {"images": tf.constant(images)}


def scaled():
    factor = choice([-1.0, 255.0, 1e10, 3e38, 0.0, np.nan, np.inf, 1e-30])
    with np.errstate(all="ignore"):
        images = (some() * np.float32(factor)).astype(np.float32)
    return "answer", "serving_default", {"images": tf.constant(images)}


def shapes():
    rank = generator.integers(0, 7)
    shape = tuple(int(side) for side in generator.choice([0, 1, 2, 3, 27, 28, 29], rank))
    if len(shape) == 4 and shape[1:] == SHAPE:
        shape = shape[:3]
    if np.prod(shape, dtype=np.int64) > 10**7:
        shape = shape[:4] + (2,)
    return "error", "serving_default", {"images": tf.zeros(shape)}


def axes():
    images = np.moveaxis(some(), -1, choice([0, 1, 2]))
    images = choice([images, images[0], images[..., None], images.reshape(len(images), -1)])
    return "error", "serving_default", {"images": tf.constant(images)}


def dtypes():
    kind = choice(["float64", "float16", "bfloat16", "int32", "uint8", "bool", "complex64", "string"])
    images = tf.constant(some())
    images = tf.as_string(images) if kind == "string" else tf.cast(images, kind)
    return "error", "serving_default", {"images": images}


def arrays():
    kind = choice(["float64", "int64", "uint8", "bool", "float16", "object", "list", "float32"])
    images = some(3)
    return "either", "serving_default", {"images": images.tolist() if kind == "list" else images.astype(kind)}


def things():
    ragged = [some(1).tolist(), 3]
    options = [None, "images", b"\x00", 3, 2.5, {}, [], {"a": 1}, ragged, object(), np.nan, [[["x"]]], (1, 2)]
    thing = choice(options)
    return "error", choice(["serving_default", "eigenvalues"]), {"images": thing}


def empties():
    wrong = [(0,), (0, 28), (0, 28, 28), (3, 0, 28, 1), (3, 28, 28, 0), (0, 0, 0, 0)]
    shape = choice([(0, *SHAPE), (0, *SHAPE), *wrong])
    expected = "answer" if shape == (0, *SHAPE) else "error"
    return expected, "serving_default", {"images": tf.zeros(shape)}


def keywords():
    images = tf.constant(some())
    both = {"images": images, "more": images}
    arguments = choice([{}, both, *({name: images} for name in ("image", "Images", "image_bytes", "input"))])
    return "error", choice(["serving_default", "eigenvalues"]), arguments


def crowd():
    images = good[generator.integers(0, len(good), 1500)]
    images[generator.integers(0, 1500, 50), 3, 3, 0] = np.nan
    return "answer", "serving_default", {"images": tf.constant(images)}


def garbage():
    pixels = noise(28, 28, 1)
    whole = choice([png, jpeg])(pixels)
    start = int(generator.integers(0, len(whole)))
    flipped = bytearray(png(pixels))
    flipped[generator.integers(8, len(flipped))] ^= int(generator.integers(1, 256))
    file = choice(
        [
            b"",
            generator.bytes(generator.integers(0, 400)),
            whole[:start],
            whole[start + 1 :],
            bytes(flipped),
            b"GIF89a" + generator.bytes(100),
            b"BM" + generator.bytes(100),
            b"RIFF\x00\x00\x00\x00WEBP" + generator.bytes(60),
            b"\x89PNG\r\n\x1a\n" + generator.bytes(100),
            b"\xff\xd8\xff" + generator.bytes(100),
        ]
    )
    files = [png(noise(28, 28, 1)) for _ in range(generator.integers(0, 3))]
    files.insert(generator.integers(0, len(files) + 1), file)
    return "error", "encoded_images", {"image_bytes": tf.constant(files)}


def sizes():
    height, width = choice([(27, 28), (28, 29), (1, 1), (14, 56), (784, 1), (256, 256)])
    file = choice([png, jpeg])(noise(height, width, choice([1, 3])))
    return "error", "encoded_images", {"image_bytes": tf.constant([file])}


def bombs():
    return "error", "encoded_images", {"image_bytes": tf.constant([bomb(6000)])}


def ranks_of_files():
    file = png(noise(28, 28, 1))
    value = choice([tf.constant(file), tf.constant([[file]]), tf.constant([1.0]), tf.zeros([2, 28, 28, 1])])
    return "error", "encoded_images", {"image_bytes": value}


def channels():
    """Not wrong: grey, colour and alpha are read, and so are 16 bits."""
    kind = choice([1, 3, 4, 16])
    pixels = noise(28, 28, 1).astype(np.uint16) * 256 if kind == 16 else noise(28, 28, kind)
    files = [png(pixels), jpeg(noise(28, 28, 3))]
    return "judged", "encoded_images", {"image_bytes": tf.constant(files)}


MUTATIONS = {
    bad_pixels: 160, scaled: 80, shapes: 130, axes: 60, dtypes: 60, arrays: 60, things: 60, empties: 60,
    keywords: 60, crowd: 3, garbage: 180, sizes: 50, bombs: 2, ranks_of_files: 20, channels: 15,
}


def complaint(expected, arguments, outputs):
    """Returns what is wrong with an answer, or None."""
    if expected == "error":
        return "answered"
    outputs = {name: output.numpy() for name, output in outputs.items()}
    is_valid = outputs["is_valid"]
    if expected == "judged":
        wanted = np.ones(len(arguments["image_bytes"]), bool)
    else:
        images = np.asarray(arguments["images"]).astype(np.float32)
        with np.errstate(invalid="ignore"):
            wanted = ((images >= 0) & (images <= 1)).all(axis=(1, 2, 3))
    if not np.array_equal(is_valid, wanted):
        return f"is_valid is {is_valid}, wanted {wanted}"
    if not outputs["is_adversarial"][~wanted].all():
        return "an image that is not valid is let through"
    for name in ("adversarial_probability", "class_probabilities", "eigenvalues"):
        output = outputs[name]
        if len(output) != len(wanted) or not np.isfinite(output[wanted]).all():
            return f"{name} is not finite"
        if not np.isnan(output[~wanted]).all():
            return f"{name} of an image that is not valid looks valid"
    probability = outputs["adversarial_probability"][wanted]
    if not ((probability >= 0) & (probability <= 1)).all():
        return "no probability"
    return None


def scores_of_good():
    return loaded.signatures["serving_default"](images=tf.constant(good))["adversarial_probability"].numpy()


before = scores_of_good()
counts, complaints, total = collections.Counter(), [], 0
for mutate, number in MUTATIONS.items():
    for _ in range(number):
        expected, signature, arguments = mutate()
        total += 1
        faulthandler.dump_traceback_later(120, exit=True)  # a hang ends the process
        try:
            outputs = loaded.signatures[signature](**arguments)
            wrong = complaint(expected, arguments, outputs)
            outcome = "answer"
        except EXPECTED as error:
            wrong = None if expected in ("error", "either") else f"{type(error).__name__}: {str(error)[:300]}"
            outcome = "error"
        except Exception as error:
            outcome, wrong = "error", f"unexpected {type(error).__name__}: {str(error)[:300]}"
        faulthandler.cancel_dump_traceback_later()
        counts[f"{mutate.__name__} {outcome}"] += 1
        if wrong:
            complaints.append(f"{mutate.__name__}: {wrong}")
if not np.array_equal(scores_of_good(), before):
    complaints.append("After all that, it says something else.")
print(json.dumps({"total": total, "counts": counts, "complaints": complaints}))
'''


def test_thousand_mutated_inputs_are_refused_or_judged(portable, images, tmp_path):
    np.save(tmp_path / "good.npy", images[:-1])
    # oneDNN, which TensorFlow takes by itself on the newest processors only: it fails on an empty batch.
    environment = {"TF_ENABLE_ONEDNN_OPTS": "1"}
    shown = run_program(ABUSE, portable / "1", tmp_path / "good.npy", timeout=500, **environment)
    report = json.loads(shown.splitlines()[-1])
    assert report["total"] == 1000
    assert not report["complaints"], report["complaints"][:10]
    # Both outcomes are there, so that neither hides the other.
    errors, answers = (
        sum(count for name, count in report["counts"].items() if name.endswith(outcome))
        for outcome in ("error", "answer")
    )
    assert errors > 500
    assert answers > 200


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({}, "no detector: it does not return adversarial_probability"),
        ({"is_valid": np.array([True]), "eigenvalues": np.ones((1, 9))}, "does not return adversarial_prob"),
        (None, "answered for 1 of 2 images"),
    ],
)
def test_client_says_what_is_wrong_with_an_answer(client, monkeypatch, tmp_path, capsys, outputs, text):
    answer = {
        "adversarial_probability": np.array([0.2]),
        "class_probabilities": np.full((1, 10), 0.1),
        "eigenvalues": np.ones((1, 9)),
        "is_adversarial": np.array([False]),
        "is_valid": np.array([True]),
    }
    found = answer if outputs is None else outputs
    monkeypatch.setattr(client.RestClient, "predict", lambda self, inputs, signature: found)
    np.save(tmp_path / "images.npy", np.zeros((2, 28, 28, 1), np.float32))
    # 2, an error: 1 would say that an image is adversarial.
    assert client.main([str(tmp_path / "images.npy")]) == 2
    assert text in capsys.readouterr().err


def test_client_refuses_a_number_for_images_and_a_host_that_is_none(client, tmp_path, capsys):
    np.save(tmp_path / "number.npy", np.float32(3.0))
    assert client.main([str(tmp_path / "number.npy")]) == 2
    np.save(tmp_path / "images.npy", np.zeros((2, 28, 28, 1), np.float32))
    assert client.main(["--host", "no host", str(tmp_path / "images.npy")]) == 2
    assert "cannot be reached" in capsys.readouterr().err
