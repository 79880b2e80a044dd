"""The clients that docs/deploy.md shows, against a server that answers as TensorFlow Serving does.

The gRPC service is TensorFlow Serving's own interface; the REST answer is written after its
documentation. What runs behind both is the exported SavedModel.
"""

import base64
import concurrent.futures
import http.server
import io
import json
import pathlib
import re
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_dup import export

PAGE = pathlib.Path(__file__).parents[2].joinpath("docs/deploy.md").read_text()
CLIENTS = [code for code in re.findall(r"```py\n(.*?)```", PAGE, re.S) if "localhost" in code]


@pytest.fixture(scope="module")
def signatures(tmp_path_factory):
    image = keras.Input((None, None, 3))
    scores = keras.layers.Softmax()(keras.layers.Conv2D(3, 3, padding="same")(image))
    model, path = keras.Model(image, scores), tmp_path_factory.mktemp("served")
    return tf.saved_model.load(export.saved_model(model, path, verbose=False)["path"]).signatures


@pytest.fixture(autouse=True)
def photograph(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")


def run(client, port, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(re.sub(r"localhost:\d+", f"localhost:{port}", client), found)
    return found


def expected(signatures, tmp_path):
    image = np.asarray(Image.open(tmp_path / "photo.jpg"))[None]
    return signatures["serve_uint8"](image=tf.constant(image))["label_map"].numpy()[0]


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_the_grpc_client_gets_the_label_map(signatures, tmp_path, monkeypatch):
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            assert request.model_spec.name == "dup"
            inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
            found = signatures[request.model_spec.signature_name](**_tensors(inputs))
            response = predict_pb2.PredictResponse()
            for name, value in found.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
            return response

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        found = run(CLIENTS[0], port, tmp_path, monkeypatch)
    finally:
        server.stop(None)
    assert list(found["errors"]) == [b""]
    np.testing.assert_array_equal(decoded(found["label_maps"][0]), expected(signatures, tmp_path))


def test_the_rest_client_gets_the_label_map(signatures, tmp_path, monkeypatch):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/models/dup:predict"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            files = [base64.b64decode(row["image_bytes"]["b64"]) for row in body["instances"]]
            answer = signatures[body["signature_name"]](image_bytes=tf.constant(files))
            pairs = zip(*(answer[k].numpy() for k in ("label_map_bytes", "error")), strict=True)
            rows = [
                # outputs whose names end in _bytes are encoded
                {
                    "label_map_bytes": {"b64": base64.b64encode(content).decode()},
                    "error": error.decode(),
                }
                for content, error in pairs
            ]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"predictions": rows}).encode())

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("localhost", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        found = run(CLIENTS[1], server.server_port, tmp_path, monkeypatch)
    finally:
        server.shutdown()
        server.server_close()
    np.testing.assert_array_equal(decoded(found["label_map"]), expected(signatures, tmp_path))


def _tensors(arrays):
    return {name: tf.constant(value) for name, value in arrays.items()}
