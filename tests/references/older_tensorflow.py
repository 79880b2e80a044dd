"""Runs a SavedModel in every way that there is: `python older_tensorflow.py FOLDER IN.npy OUT.npz`.

Knows TensorFlow and its serving API alone, so that an older version runs it.

IN.npy: (B, H, W, 3) uint8. OUT.npz: {way: label maps (B, H, W)}, `version` of TensorFlow, `warm_up`
the number of requests.
"""

import sys

import c_api
import numpy as np
import tensorflow as tf

from research import served


def main(folder, images, output):
    images, session = np.load(images), served.session(folder)
    files = [tf.io.encode_png(image).numpy() for image in images]
    loaded = tf.saved_model.load(folder).signatures

    def run_loaded(name, inputs):
        tensors = {key: tf.constant(value) for key, value in inputs.items()}
        return {key: value.numpy() for key, value in loaded[name](**tensors).items()}

    found = {"c_api serve_uint8": c_api.load(folder)(images)}
    for way, run in (("session", session), ("loaded", run_loaded)):
        for name, kind in (("serving_default", "float32"), ("serve_uint8", "uint8")):
            found[f"{way} {name}"] = run(name, {"image": images.astype(kind)})["label_map"]
        answer = run("serve_encoded", {"image_bytes": [*files, b"no image"]})
        assert [bool(error) for error in answer["error"]] == [False] * len(files) + [True]
        maps = [tf.io.decode_png(file).numpy()[..., 0] for file in answer["label_map_bytes"][:-1]]
        found[f"{way} serve_encoded"] = np.stack(maps)
    requests = served.warm_up(folder)
    for name, inputs in requests:
        session(name, inputs)
    np.savez(output, version=tf.__version__, warm_up=len(requests), **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
