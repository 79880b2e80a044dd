"""What `gpu` prints, draws and concludes of its rows."""

import statistics

OURS, PEER = "resnet50, ours, stride {}", "resnet50, torchvision, stride 8"


def must_hold(results):
    """[{"what", "value", "least" or "most", "holds"}]; value None where rows are missing."""
    batch, found = results["batch"], medians(results)

    def ratio(above, below):
        a, b = found.get(above), found.get(below)
        return a / b if a and b else None

    def peer(part, stride):
        return ratio((part, PEER, batch), (part, OURS.format(stride), batch))

    xception = "inference", "xception65, ours, stride 16", batch
    resnet = "inference", OURS.format(16), batch
    before, aspp = (found.get(("cut", name, batch)) for name in ("b4", "ASPP"))
    whole = found.get(resnet)
    share = (aspp - before) / whole if before and aspp and whole else None
    heads = [row for row in results["rows"] if row["name"] == "150 classes" and "rate" in row]
    times_product = 1 / heads[0]["rate"] if heads else None
    ready = [
        row["trace_seconds"] + row["compile_seconds"]
        for row in results["rows"]
        if row["part"] == "training" and "compile_seconds" in row and "trace_seconds" in row
    ]
    facts = [
        ("inference at stride 16, times torchvision's", peer("inference", 16), "least", 3),
        ("inference at stride 32, times torchvision's", peer("inference", 32), "least", 5),
        ("training at stride 16, times torchvision's", peer("training", 16), "least", 2),
        ("Xception-65 / ResNet-50", ratio(xception, resnet), "most", 1.8),
        ("ASPP's share of the network", share, "most", 0.15),
        ("head of 150 classes / its matrix product", times_product, "most", 4),
        ("slowest training step, s until it is compiled", max(ready, default=None), "most", 60),
        ("a second start, s until it is compiled", results.get("second_start"), "most", 15),
    ]
    return [
        {"what": what, "value": value, kind: bound, "holds": holds(value, kind, bound)}
        for what, value, kind, bound in facts
    ]


def holds(value, kind, bound):
    if value is None:
        return None
    return bool(value >= bound if kind == "least" else value <= bound)


def medians(results):
    """{(part, name, batch): seconds}."""
    return {
        (row["part"], row["name"], row["batch"]): statistics.median(row["seconds"])
        for row in results["rows"]
        if row.get("seconds")
    }


def add_shares(results):
    """Adds "rate" and "bandwidth" to rows, shares of the chip's ceilings."""
    found = medians(results)
    for key, ceiling, share in (
        ("multiply_adds", "product", "rate"),
        ("bytes", "copy", "bandwidth"),
    ):
        seconds = found.get(("ceiling", ceiling, 1))
        top = [row[key] / seconds for row in results["rows"] if row["name"] == ceiling and seconds]
        for row in results["rows"]:
            if top and key in row and row.get("seconds"):
                row[share] = row[key] / statistics.median(row["seconds"]) / top[0]


def text(results):
    """The results as Markdown, a row a line."""
    head = "part", "row", "batch", "time", "images/s", "memory", "compiled in", "rate", "bandwidth"
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in results["rows"]:
        cells = [row["part"], row["name"], str(row["batch"])]
        if not row.get("seconds"):
            lines.append(f"| {' | '.join([*cells, row.get('failed', 'failed')])} |")
            continue
        median = statistics.median(row["seconds"])
        lines.append(f"| {' | '.join([*cells, *_figures(row, median)])} |")
    if speed := results.get("input"):
        figures = f"{speed['images_per_second']:.0f} images/s, {speed['per_core']:.0f} per core"
        steps = {key: key[2] / s for key, s in medians(results).items() if key[0] == "training"}
        eaten = f"; the fastest training step takes {max(steps.values()):.0f}" if steps else ""
        lines.append(f"input: {figures}, {speed['cores']} cores{eaten}")
    for fact in results["must_hold"]:
        kind = "least" if "least" in fact else "most"
        value = "not measured" if fact["value"] is None else f"{fact['value']:.3g}"
        verdict = {True: "holds", False: "DOES NOT HOLD", None: ""}[fact["holds"]]
        lines.append(f"{fact['what']}: {value} (at {kind} {fact[kind]}) {verdict}".rstrip())
    return "\n".join([*lines, f"{results['device']}, peak of JAX: {results['peak_mib']} MiB"])


def _figures(row, median):
    compiled = row.get("compile_seconds")
    return [
        f"{1000 * median:.2f} ms",
        "-" if row["part"] == "ceiling" else f"{row['batch'] / median:.1f}",
        f"{row['mib']:.0f} MiB" if row.get("mib") else "-",
        f"{compiled:.0f} s" if compiled is not None else "-",
        *(f"{100 * row[key]:.1f} %" if key in row else "-" for key in ("rate", "bandwidth")),
    ]


def draw(results, path):
    """Draws images per second of networks and steps, and the time of parts; needs Matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(f"no {path}: it needs matplotlib")
        return
    figure = Figure(figsize=(13, 8), layout="constrained")
    (left, right), (below, last) = figure.subplots(2, 2, height_ratios=(4, 3))
    found, batch = medians(results), results["batch"]
    size = f"{results['size'][0]} x {results['size'][1]}"
    for axes, part, images in (
        (left, "inference", batch),
        (right, "inference", 1),
        (below, "training", batch),
    ):
        speeds = {key[1]: images / s for key, s in found.items() if key[::2] == (part, images)}
        _bars(axes, speeds, f"{part}, {size}, batch {images}: images per second")
    _parts(last, {key[1]: 1000 * s for key, s in found.items() if key[0] == "cut"})
    last.set_title("ResNet-50, stride 16: ms up to the end of a part", fontsize=10)
    figure.suptitle(results["device"])
    figure.savefig(path, dpi=100)


def _bars(axes, values, title):
    colours = ["tab:blue" if "ours" in name else "tab:gray" for name in values]
    bars = axes.barh(list(values), list(values.values()), color=colours)
    axes.bar_label(bars, fmt="%.4g", padding=2)
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)


def _parts(axes, milliseconds):
    names = sorted(milliseconds, key=milliseconds.get)
    bars = axes.barh(names, [milliseconds[name] for name in names], color="tab:blue")
    axes.bar_label(bars, fmt="%.2f", padding=2)
    axes.margins(x=0.2)
    axes.invert_yaxis()
