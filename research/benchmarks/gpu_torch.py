"""The rows of torchvision for `gpu`: `python -m research.benchmarks.gpu_torch`, a line each.

Its deeplabv3_resnet50, stride 8: torch.compile, channels last, bfloat16 by autocast.
"""

import argparse
import json
import time

import torch
from torchvision.models.segmentation import deeplabv3_resnet50

CLASSES = 21
RUNS = 20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=[513, 513])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    rows = [("inference", arguments.batch), ("training", arguments.batch)]
    rows += [("inference", 1)] if arguments.batch > 1 else []
    for part, batch in rows:
        row = {"part": part, "name": "resnet50, torchvision, stride 8", "batch": batch}
        try:
            row.update(measured(part == "training", batch, arguments))
        except Exception as error:  # too little memory: a result too
            row["failed"] = f"{type(error).__name__}: {error}"[:300]
        print(json.dumps(row), flush=True)


def measured(train, batch, arguments):
    started = time.perf_counter()
    call = step(train, (batch, *arguments.size))
    call()
    row, cuda = {"compile_seconds": time.perf_counter() - started}, torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    call()
    row["mib"] = torch.cuda.max_memory_allocated() / 2**20 if cuda else None
    row["seconds"] = []
    for _ in range(arguments.runs):
        start = time.perf_counter()
        call()
        row["seconds"].append(time.perf_counter() - start)
    return row


def step(train, shape):
    """A function that runs the network, or trains it for a step, to its end."""
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    torch.backends.cudnn.benchmark = True  # chooses convolutions by their time, as XLA does
    model = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES)
    model = model.to(device, memory_format=torch.channels_last).train(train)
    image = torch.rand(shape[0], 3, *shape[1:], device=device)
    image = image.to(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, shape, device=device)
    sgd = torch.optim.SGD(model.parameters(), 0.007, momentum=0.9, weight_decay=1e-4)

    @torch.compile
    def compiled(image, labels):
        with torch.autocast(device, torch.bfloat16):
            scores = model(image)["out"]  # resized to the image
            if train:
                return torch.nn.functional.cross_entropy(scores, labels)
            return scores.argmax(1).to(torch.uint8)

    def call():
        with torch.set_grad_enabled(train):
            result = compiled(image, labels)
        if train:
            result.backward()
            sgd.step()
            sgd.zero_grad()
        if cuda:
            torch.cuda.synchronize()

    return call


if __name__ == "__main__":
    main()
