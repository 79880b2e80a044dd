"""Runs LiteRT files."""

import functools


def load(path=None, content=None, threads=1):
    """The function image (1, H, W, 3) -> output of a .tflite file, or of its bytes."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(path and str(path), model_content=content, num_threads=threads)
    return functools.partial(_answer, runner)


def _answer(runner, image):
    (given,), (found,) = runner.get_input_details(), runner.get_output_details()
    if tuple(given["shape"]) != image.shape:
        runner.resize_tensor_input(given["index"], image.shape)
    runner.allocate_tensors()
    runner.set_tensor(given["index"], image.astype(given["dtype"]))
    runner.invoke()
    return runner.get_tensor(found["index"])
