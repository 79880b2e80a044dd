"""TensorFlow's C API, in the library of the TensorFlow that is imported, called without Python."""

import ctypes
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

__all__ = ["LIBRARY", "load"]

LIBRARY = pathlib.Path(tf.sysconfig.get_lib()) / "libtensorflow_cc.so.2"
_UINT8 = 4
_POINTERS = (
    "NewStatus",
    "NewGraph",
    "NewSessionOptions",
    "LoadSessionFromSavedModel",
    "GraphOperationByName",
    "AllocateTensor",
    "TensorData",
)


class _Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


def load(folder):
    """The function (B, H, W, 3) uint8 -> (B, H, W) uint8: `serve_uint8` of a SavedModel."""
    tf_c, pointer = ctypes.CDLL(str(LIBRARY)), ctypes.c_void_p
    for name in _POINTERS:
        getattr(tf_c, f"TF_{name}").restype = pointer
    tf_c.TF_Message.restype, tf_c.TF_Dim.restype = ctypes.c_char_p, ctypes.c_int64
    status, graph = pointer(tf_c.TF_NewStatus()), pointer(tf_c.TF_NewGraph())
    options, tags = pointer(tf_c.TF_NewSessionOptions()), (ctypes.c_char_p * 1)(b"serve")
    path = str(folder).encode()
    session = pointer(
        tf_c.TF_LoadSessionFromSavedModel(options, None, path, tags, 1, graph, None, status)
    )
    _check(tf_c, status)
    content = pathlib.Path(folder, "saved_model.pb").read_bytes()
    (graph_of_tag,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    signature = graph_of_tag.signature_def["serve_uint8"]

    def output(info):
        name, index = info.name.split(":")
        operation = tf_c.TF_GraphOperationByName(graph, name.encode())
        return (_Output * 1)(_Output(operation, int(index)))

    def run(batch):
        dimensions, size = (ctypes.c_int64 * 4)(*batch.shape), ctypes.c_size_t(batch.nbytes)
        tensor = pointer(tf_c.TF_AllocateTensor(_UINT8, dimensions, 4, size))
        ctypes.memmove(tf_c.TF_TensorData(tensor), batch.tobytes(), batch.nbytes)
        fed, found = (pointer * 1)(tensor), (pointer * 1)()
        inputs = None, output(signature.inputs["image"]), fed, 1
        outputs = output(signature.outputs["label_map"]), found, 1
        tf_c.TF_SessionRun(session, *inputs, *outputs, None, 0, None, status)
        _check(tf_c, status)
        answer = pointer(found[0])
        shape = [tf_c.TF_Dim(answer, i) for i in range(3)]
        ids = ctypes.string_at(tf_c.TF_TensorData(answer), int(np.prod(shape)))
        return np.frombuffer(ids, np.uint8).reshape(shape)

    return run


def _check(tf_c, status):
    if tf_c.TF_GetCode(status):
        raise RuntimeError(tf_c.TF_Message(status).decode())
