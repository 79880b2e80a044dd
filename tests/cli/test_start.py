"""`keras-dup` starts without Keras, and answers what was mistyped with the nearest word."""

import os
import re
import subprocess
import sys
import time

import pytest

from keras_dup import _cli

COMMANDS = ("inspect", "fit", "train", "predict", "evaluate", "export", "flops")
# what takes longer to load than all of the command; what only a command that runs needs
HEAVY = {"keras", "tensorflow", "jax", "numpy", "scipy", "PIL", "tqdm", "matplotlib", "h5py"}
_LOADED = """
import sys, time
sys.argv[0] = "keras-dup"
start = time.perf_counter()
from keras_dup import _cli
for arguments in {calls}:
    try:
        _cli.main(arguments)
    except SystemExit as end:
        print("STATUS", end.code)
print("SECONDS", time.perf_counter() - start)
print("MODULES", *{{name.partition(".")[0] for name in sys.modules}})
"""


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, **options
    )


def test_help_version_and_mistakes_load_nothing_heavy():
    helps = [[], *([command] for command in COMMANDS)]
    calls = [*([*command, "--help"] for command in helps), ["--version"]]
    mistakes = [["predikt"], ["train", "--step", "9"], ["train"], ["predict", "m"]]
    done = python("-c", _LOADED.format(calls=calls))
    assert done.stderr == ""
    mistaken = python("-c", _LOADED.format(calls=mistakes))
    for text, status, count in ((done.stdout, "0", 9), (mistaken.stdout, "2", 4)):
        lines = text.splitlines()
        assert [line for line in lines if line.startswith("STATUS")] == [f"STATUS {status}"] * count
        assert not HEAVY & set(lines[-1].split())


def test_help_takes_little_more_than_python_itself():
    """With whatever else is at work on the machine: the best of three each."""

    def seconds(*arguments):
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            python(*arguments)
            best = min(best, time.perf_counter() - start)
        return best

    assert seconds("-m", "keras_dup", "train", "--help") < 0.5 + 5 * seconds("-c", "pass")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_ends_with_examples_that_parse(command, capsys):
    with pytest.raises(SystemExit):
        _cli.main([command, "--help"])
    help_text = capsys.readouterr().out
    _, _, examples = help_text.partition("examples:\n")
    lines = [line.strip().split() for line in examples.replace("\\\n", " ").splitlines()]
    assert lines
    for program, *arguments in lines:
        assert program == "keras-dup"
        _cli.parser().parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("predikt voc_animals a.jpg -o out", "'predikt' is none of .*did you mean 'predict'"),
        ("predict m a.jpg -o out --windw 9", "no option --windw; did you mean '--window'"),
        ("train -o run --step 9", "no option --step; did you mean '--steps'"),
        ("train -o run --backbone resnet5", "'resnet5' is none of .*did you mean 'resnet50'"),
        ("train -o run --decoder=bilinaer", "did you mean 'bilinear'"),
        ("flops --decoder=bilinaer", "did you mean 'bilinear'"),
        ("flops --preset voc2012_xception6", "did you mean 'voc2012_xception65'"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest(arguments, told, capsys):
    with pytest.raises(SystemExit) as stopped:
        _cli.main(arguments.split())
    assert stopped.value.code == 2
    assert re.search(told, capsys.readouterr().err)


def test_only_the_command_leaves_keras_for_later():
    code = "import keras_dup, sys; assert 'keras_dup.layers' in sys.modules"
    python("-c", code, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
