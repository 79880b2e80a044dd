"""SavedModels as TensorFlow Serving has them: its loader and its gRPC interface, not its binary."""

import concurrent.futures
import contextlib

import tensorflow as tf

NAME = "dup"  # of the model that is served, as in docs/deploy.md


def session(folder):
    """run(signature, {input: value}) -> {output: value}, through the loader of TF 1 sessions."""
    graph = tf.Graph()
    with graph.as_default():
        session = tf.compat.v1.Session(graph=graph)
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))

    def run(name, inputs):
        signature = loaded.signature_def[name]
        fed = {signature.inputs[key].name: value for key, value in inputs.items()}
        return session.run({k: v.name for k, v in signature.outputs.items()}, fed)

    return run


def warm_up(folder):
    """[(signature, {input: value})] of the requests that a server runs before it answers."""
    from tensorflow_serving.apis import prediction_log_pb2

    file = f"{folder}/assets.extra/tf_serving_warmup_requests"
    logs = map(
        prediction_log_pb2.PredictionLog.FromString,
        tf.data.TFRecordDataset(file).as_numpy_iterator(),
    )
    return [_request(log.predict_log.request) for log in logs]


@contextlib.contextmanager
def server(folder, workers=4):
    """Serves a SavedModel on this machine while the block runs; gives the address."""
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    run = session(folder)

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            if request.model_spec.name != NAME:
                context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.model_spec.name}")
            try:
                found = run(*_request(request))
            except tf.errors.OpError as error:
                codes = {code.value[0]: code for code in grpc.StatusCode}
                context.abort(codes[error.error_code], error.message)
            response = predict_pb2.PredictResponse()
            for name, value in found.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return response

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(workers))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None).wait()


def _request(request):
    inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
    return request.model_spec.signature_name, inputs
