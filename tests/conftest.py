"""Two logical CPUs, so that data-parallel training is tested without accelerators."""

import gc

import keras
import pytest

from keras_dup import _keras_private

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    # TensorFlow's rewriting of graphs takes half of the time of small tests and changes no value;
    # the processes that tests start have it
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

# a tenth of the time goes into looking through the objects of networks otherwise
gc.freeze()
gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def without_values():
    """Networks built in the test have no values in their weights, which saves most of the time."""
    with _keras_private.without_values():
        yield


def pytest_addoption(parser):
    help_text = (
        "whole networks in test_every_network.py; a step of research/on_device.py beside Keras"
    )
    parser.addoption("--full-size", action="store_true", help=help_text)
    help_text = "how often a run is killed in test_training_processes.py"
    parser.addoption("--kills", type=int, default=5, help=help_text)
