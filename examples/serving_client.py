"""Asks a detector that TensorFlow Serving serves: are these images adversarial?

    python examples/serving_client.py one.png two.jpg                 REST, port 8501
    python examples/serving_client.py --grpc --port 8500 images.npy   gRPC

Image files go to the signature `encoded_images`, arrays (n, h, w, c) in the bounds of the classifier to
`serving_default`. REST takes NumPy and the standard library, gRPC `pip install "keras-fisher[serving]"`.
keras-fisher itself is not needed. scripts/serve.md says how to serve.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import http.client
import json
import pathlib
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Protocol

import numpy as np

MODEL = "lenet5_mnist_detector"
#: What a detector returns, all of which `verdicts` reads.
OUTPUTS = {"adversarial_probability", "class_probabilities", "eigenvalues", "is_adversarial", "is_valid"}
#: The input of each signature of an exported detector.
SIGNATURES = {"serving_default": "images", "eigenvalues": "images", "encoded_images": "image_bytes"}


class ServingError(Exception):
    """The server cannot be reached, or answers with an error, or with what is no answer."""


class Client(Protocol):
    """What asks a server."""

    def predict(
        self, inputs: np.ndarray | list[bytes], signature: str = "serving_default"
    ) -> dict[str, np.ndarray]:
        """Returns the outputs of the signature by name, a row for each input.

        Args:
            inputs: images (n, h, w, c), or the bytes of n files for `encoded_images`.
            signature: a name in `SIGNATURES`.

        Raises:
            ServingError: no answer, or an error for one.
            ValueError: no inputs, or no such signature.
        """
        ...


@dataclasses.dataclass(frozen=True)
class RestClient:
    """Asks by HTTP, with JSON."""

    host: str = "localhost"
    port: int = 8501
    model: str = MODEL
    #: Seconds.
    timeout: float = 60.0

    def predict(
        self, inputs: np.ndarray | list[bytes], signature: str = "serving_default"
    ) -> dict[str, np.ndarray]:
        """See `Client.predict`."""
        url = f"http://{self.host}:{self.port}/v1/models/{urllib.parse.quote(self.model)}:predict"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, request_body(inputs, signature), headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                return parse_response(response.read(), signature)
        except urllib.error.HTTPError as error:
            raise ServingError(f"{url}: {error.code}, {_error_in(error.read())}") from error
        except (OSError, http.client.HTTPException) as error:
            raise ServingError(f"{url} cannot be reached: {error}") from error


@dataclasses.dataclass(frozen=True)
class GrpcClient:
    """Asks by gRPC: tensors as they are, a tenth of the bytes of JSON."""

    host: str = "localhost"
    port: int = 8500
    model: str = MODEL
    #: Seconds.
    timeout: float = 60.0

    def predict(
        self, inputs: np.ndarray | list[bytes], signature: str = "serving_default"
    ) -> dict[str, np.ndarray]:
        """See `Client.predict`."""
        # Here, for REST does without. The messages of TensorFlow Serving bring TensorFlow along anyway.
        try:
            import grpc  # noqa: PLC0415
            import tensorflow as tf  # noqa: PLC0415
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc  # noqa: PLC0415
        except ImportError as error:
            raise ServingError('gRPC needs more: pip install "keras-fisher[serving]"') from error
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.model
        request.model_spec.signature_name = signature
        request.inputs[_input_name(signature)].CopyFrom(tf.make_tensor_proto(_as_input(inputs)))
        address = f"{self.host}:{self.port}"
        # Unlimited: by default gRPC takes no answer above 4 MiB.
        options = [("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(address, options) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            try:
                response = stub.Predict(request, timeout=self.timeout)
            except grpc.RpcError as error:
                raise ServingError(f"{address}: {error.code().name}, {error.details()}") from error
        return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


def request_body(inputs: np.ndarray | list[bytes], signature: str = "serving_default") -> bytes:
    """Returns the JSON that TensorFlow Serving's `:predict` takes, one entry of `instances` for each input.

    Floats are written in the digits that give the same float32 again; NaN and infinity, which JSON does not
    have, as TensorFlow Serving reads them.
    """
    name = _input_name(signature)
    rows = _as_input(inputs)
    if name == "image_bytes":
        values: list[Any] = [{"b64": base64.b64encode(row).decode("ascii")} for row in rows]
    else:
        values = rows.tolist()
    instances = [{name: value} for value in values]
    return json.dumps({"signature_name": signature, "instances": instances}).encode("ascii")


def parse_response(body: bytes, signature: str = "serving_default") -> dict[str, np.ndarray]:
    """Returns the outputs by name. TensorFlow Serving writes NaN as it is, and Python reads it.

    Raises:
        ServingError: it is no answer of `:predict`.
    """
    try:
        predictions = json.loads(body)["predictions"]
        if predictions and isinstance(predictions[0], dict):
            return {name: np.array([row[name] for row in predictions]) for name in predictions[0]}
        # The name of a single output is left out; ours is that of its signature.
        return {signature: np.array(predictions)}
    except (ValueError, KeyError, TypeError) as error:
        raise ServingError(f"The server's answer cannot be read: {body[:200]!r}") from error


def read_inputs(paths: list[str]) -> tuple[np.ndarray | list[bytes], str]:
    """Returns what the files hold, and the signature that takes it.

    Args:
        paths: one `.npy` of images (n, h, w, c), or PNG and JPEG files.

    Raises:
        ValueError: several `.npy`, or one among others.
        OSError: a file that cannot be read.
    """
    files = [pathlib.Path(path) for path in paths]
    if not any(file.suffix == ".npy" for file in files):
        return [file.read_bytes() for file in files], "encoded_images"
    if len(files) > 1:
        raise ValueError("Pass one .npy file, or image files.")
    return np.load(files[0], allow_pickle=False), "serving_default"


def verdicts(outputs: dict[str, np.ndarray]) -> list[str]:
    """Returns a line for each image: what the detector says, then class and largest eigenvalue.

    Raises:
        ServingError: outputs that are not a detector's.
    """
    missing = sorted(OUTPUTS - set(outputs))
    if missing:
        raise ServingError(f"The server's model is no detector: it does not return {', '.join(missing)}.")
    lines = []
    for row in range(len(outputs["is_valid"])):
        if not outputs["is_valid"][row]:
            lines.append("NOT VALID  a pixel is NaN, infinite or out of bounds; take it for adversarial")
            continue
        verdict = "ADVERSARIAL" if outputs["is_adversarial"][row] else "clean"
        probabilities = outputs["class_probabilities"][row]
        lines.append(
            f"{verdict:11}  probability {outputs['adversarial_probability'][row]:.3f}  "
            f"class {probabilities.argmax()} ({probabilities.max():.3f})  "
            f"largest eigenvalue {outputs['eigenvalues'][row, 0]:.3g}"
        )
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 where all images are clean, 1 where one is not, 2 after an error."""
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("files", nargs="+", help="one .npy of images (n, h, w, c), or PNG and JPEG files")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, help="default: 8501, with --grpc 8500")
    parser.add_argument("--model", default=MODEL, help="MODEL_NAME of the server (default: %(default)s)")
    parser.add_argument("--grpc", action="store_true", help="gRPC instead of REST")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds (default: %(default)s)")
    options = parser.parse_args(arguments)
    kind = GrpcClient if options.grpc else RestClient
    client = kind(options.host, options.port or kind.port, options.model, options.timeout)
    try:
        inputs, signature = read_inputs(options.files)
        outputs = client.predict(inputs, signature)
        lines = verdicts(outputs)
        if len(lines) != len(inputs):
            raise ServingError(f"The server answered for {len(lines)} of {len(inputs)} images.")
    except (ServingError, OSError, ValueError) as error:
        print(f"serving_client: {error}", file=sys.stderr)
        return 2
    names = options.files if signature == "encoded_images" else range(len(inputs))
    for name, line in zip(names, lines, strict=True):
        print(f"{name}: {line}")
    return int(outputs["is_adversarial"].any())


def _input_name(signature: str) -> str:
    """Returns the name of the signature's input.

    Raises:
        ValueError: there is no such signature.
    """
    if signature not in SIGNATURES:
        raise ValueError(f"`signature` must be one of {', '.join(SIGNATURES)}, got {signature!r}.")
    return SIGNATURES[signature]


def _as_input(inputs: np.ndarray | list[bytes]) -> np.ndarray:
    """Returns float32 images, which the signatures take, or an array of bytes.

    Raises:
        ValueError: nothing, or images that are no numbers.
    """
    if not np.ndim(inputs) or not len(inputs):
        raise ValueError("There is nothing to ask about.")
    is_bytes = isinstance(inputs, list) and isinstance(inputs[0], bytes)
    # An array of bytes of one width would drop zeros at the end.
    return np.array(inputs, object) if is_bytes else np.asarray(inputs, np.float32)


def _error_in(body: bytes) -> str:
    """Returns TensorFlow Serving's message of an error, which it puts into JSON, or the body."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")


if __name__ == "__main__":
    sys.exit(main())
