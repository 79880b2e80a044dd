"""`keras-dup flops`: multiply-adds and parameters of a network."""

import warnings

from keras_dup import presets
from keras_dup._cli import options

__all__ = ["add"]


def add(commands):
    """Adds the command's parser."""
    flops = commands.add_parser(
        "flops",
        help="multiply-adds and parameters of a network, by part",
        epilog=options.examples(
            "flops --backbone efficientnet_lite0 --num-classes 7 --input-size 353 353",
            "flops --preset voc2012_xception65",
            "flops --paper",
        ),
    )
    flops.set_defaults(run=_run)
    flops.add_argument("--paper", action="store_true", help="the figures of the paper's tables")
    preset = "a network of the paper; other arguments override it"
    flops.add_argument("--preset", choices=presets.PRESETS, metavar="PRESET", help=preset)
    flops.add_argument("--backbone", choices=presets._BACKBONES, help="default: xception65")
    flops.add_argument("--num-classes", type=int, metavar="K", help="default: 21")
    flops.add_argument("--output-stride", type=int, choices=presets.OUTPUT_STRIDES)
    stride = {"type": int, "choices": presets.RATIOS}
    flops.add_argument("--fusion-stride", **stride, help="where low-level features are fused")
    flops.add_argument("--ratio", **stride, help="of DUpsampling; by default the fusion's stride")
    flops.add_argument("--low-level-features", nargs="*", metavar="NAME")
    flops.add_argument("--channels", type=int, metavar="N", help="C~; default: the backbone's")
    flops.add_argument("--decoder", choices=presets.DECODERS, help="default: thin")
    size = {"type": int, "nargs": 2, "metavar": ("HEIGHT", "WIDTH")}
    flops.add_argument("--input-size", **size, help="in pixels; 513 513 or the preset's by default")
    flops.add_argument("--elementwise", action="store_true", help="count batch norm, ReLU, ... too")


def _run(arguments):
    from keras_dup import flops, presets

    if arguments.paper:
        _paper()
        return
    names = ("preset", "backbone", "num_classes", "output_stride", "low_level_features")
    names = (*names, "channels", "decoder", "fusion_stride", "ratio")
    given = {name: getattr(arguments, name) for name in names}
    model = _build(**given)
    size = presets.PRESETS.get(arguments.preset, {}).get("input_size", (513, 513))
    size = tuple(arguments.input_size or size)
    table = flops.table(model, size, arguments.elementwise)
    table["total"] = tuple(map(sum, zip(*table.values(), strict=True)))
    print(f"{model.name}, one image of {size[0]} x {size[1]}")
    print(f"{'':28} {'multiply-adds':>18} {'parameters':>14}")
    for part, (multiply_adds, parameters) in table.items():
        print(f"{part:28} {multiply_adds:18,} {parameters:14,}")


def _build(**arguments):
    """The network without values in its weights."""
    from keras_dup import _keras_private, models

    with _keras_private.without_values(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that W is random
        return models.build(**arguments)


def _paper():
    """Prints every FLOPS figure of the paper next to ours, in its units."""
    from keras_dup import flops, presets

    print(f"{'decoder, 2 operations per multiply-add':45} {'paper':>9} {'ours':>9}")
    for name, row in presets.PRESETS.items():
        if row["decoder_billions"]:
            model = _build(preset=name)
            ours = 2 * flops.count(model, row["input_size"])["decoder"] / 1e9
            print(f"{row['source']:45} {row['decoder_billions']:>8}B {ours:8.2f}B")
    print(f"\n{'whole network, six scales and mirrored':45} {'paper':>9} {'ours':>9}")
    for name, row in presets.MULTI_SCALE.items():
        model = _build(**row["network"])
        ours = flops.count_multi_scale(model, row["input_size"], row["scales"]) / 1e9
        print(f"{name:45} {row['billions']:>8}B {ours:8.2f}B")
