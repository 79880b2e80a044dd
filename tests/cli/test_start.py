"""`keras-dup` starts without Keras, and answers what was mistyped with the nearest word."""

import os
import re
import subprocess
import sys
import time
import warnings

import pytest

import keras_dup
from keras_dup import _cli
from keras_dup._cli import start

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


def test_a_command_that_works_prints_nothing_to_standard_error():
    """Without the level of TensorFlow's messages that the tests may be run with."""
    quiet = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    arguments = ["flops", "--backbone", "mobilenet_v2", "--input-size", "64", "64"]
    done = python("-m", "keras_dup", *arguments, env=quiet)
    assert done.stderr == "" and "total" in done.stdout


@pytest.mark.parametrize("command", ["train -o run --data-set", "evaluate m --data-set"])
def test_a_data_set_without_its_extra_or_with_a_mistyped_name_is_told_at_once(command, monkeypatch):
    monkeypatch.setattr(_cli, "load_keras", lambda: pytest.fail("too late"))
    with pytest.raises(SystemExit, match=r"--data-set camvd: .*did you mean 'camvid'"):
        _cli.main([*command.split(), "camvd"])
    monkeypatch.setattr(start.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"needs tensorflow-datasets: pip install 'keras-dup\[tf"):
        _cli.main([*command.split(), "camvid"])


@pytest.mark.parametrize(
    "command",
    [["export", "voc_animal"], ["predict", "voc_animal", __file__], ["evaluate", "voc_animal"]],
)
def test_a_model_that_is_not_there_is_told_at_once(command, monkeypatch):
    monkeypatch.setattr(_cli, "load_keras", lambda: pytest.fail("too late"))
    labelled = ["--images", "a", "--masks", "b"] if command[0] == "evaluate" else []
    told = r"voc_animal: no such file, and no model .*\(voc_animals\); did you mean 'voc_animals'"
    with pytest.raises(SystemExit, match=told):
        _cli.main([*command, "-o", "out", *labelled])


def test_what_tensorflow_says_is_shown_where_it_cannot_be_loaded(monkeypatch, capfd):
    def fail(name):
        os.write(2, b"no such CPU\n")
        raise ImportError("DLL load failed")

    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setattr(start.importlib, "import_module", fail)
    with pytest.raises(SystemExit, match="keras-dup: DLL load failed"):
        _cli.main(["flops", "--paper"])
    assert capfd.readouterr().err == "no such CPU\n"


def test_a_warning_is_one_line_without_its_place_in_the_source(monkeypatch):
    def warn():
        sys.exit(warnings.formatwarning("give images", UserWarning, "a.py", 9))

    monkeypatch.setattr(_cli, "load_keras", warn)
    with pytest.raises(SystemExit, match=r"^keras-dup: warning: give images\n$"):
        _cli.main(["flops"])
    assert "a.py" in warnings.formatwarning("give images", UserWarning, "a.py", 9)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_complete_options_of_recipes_and_their_values(shell):
    shtab = pytest.importorskip("shtab", reason="which users install for completion")
    script = shtab.complete(_cli.parser(), shell)
    assert "--steps-per-epoch" in script and "mixed_bfloat16" in script


@pytest.mark.parametrize(
    ("argv", "orig_argv", "is_command"),
    [
        (["/bin/keras-dup", "fit"], [], True),
        (["C:\\keras-dup.exe" if os.name == "nt" else "keras-dup.exe"], [], True),
        (["-m", "fit"], ["python", "-X", "dev", "-m", "keras_dup", "fit"], True),
        (["/lib/keras_dup/__main__.py", "fit"], [], True),
        (["-m"], ["python", "-m", "training.train"], False),
        (["-c"], ["python", "-c", "import keras_dup"], False),
        (["train.py"], ["python", "train.py"], False),
        ([""], ["python"], False),
    ],
)
def test_only_the_command_leaves_keras_for_later(argv, orig_argv, is_command, monkeypatch):
    """`import keras_dup` elsewhere registers the layers, for `keras.models.load_model`."""
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    assert keras_dup._is_command() == is_command
