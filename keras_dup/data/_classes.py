"""The classes of published data sets: names, ids in the files, and colours, in class order."""

from keras_dup._void import VOID

__all__ = [
    "ADE20K",
    "ADE20K_OBJECTS",
    "ADE20K_OBJECT_IDS",
    "CAMVID",
    "CAMVID_COLOURS",
    "CITYSCAPES",
    "CITYSCAPES_COLOURS",
    "CITYSCAPES_IDS",
    "COCO_OF_VOC",
    "COLOUR_TABLES",
    "CONTEXT",
    "CONTEXT_NUMBERS",
    "ID_TABLES",
    "PET",
    "PET_IDS",
    "VOC",
]

VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)

CONTEXT = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "table", "dog", "horse", "motorbike", "person", "pottedplant", "sheep"),
    *("sofa", "train", "tvmonitor", "bag", "bed", "bench", "book", "building", "cabinet"),
    *("ceiling", "cloth", "computer", "cup", "door", "fence", "floor", "flower", "food", "grass"),
    *("ground", "keyboard", "light", "mountain", "mouse", "curtain", "platform", "sign", "plate"),
    *("road", "rock", "shelves", "sidewalk", "sky", "snow", "bedclothes", "track", "tree"),
    *("truck", "wall", "water", "window", "wood"),
)
"""PASCAL Context's 59 classes in the order of its 59_labels.txt, after the background."""

# The numbers of those 59 among the 459 of labels.txt, which is in alphabetical order.
_CONTEXT_NUMBERS = (
    *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105),
    *(113, 115, 144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308),
    *(324, 326, 347, 349, 354, 355, 360, 366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454),
    458,
)
CONTEXT_NUMBERS = dict(zip(sorted(CONTEXT[1:]), _CONTEXT_NUMBERS, strict=True))

# cityscapesScripts, helpers/labels.py: trainId order; (name, id in labelIds, colour).
_CITYSCAPES = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
CITYSCAPES = tuple(name for name, _, _ in _CITYSCAPES)
CITYSCAPES_COLOURS = tuple(colour for _, _, colour in _CITYSCAPES)
CITYSCAPES_IDS = dict.fromkeys(range(34), VOID) | {row[1]: k for k, row in enumerate(_CITYSCAPES)}

PET = ("pet", "background")
PET_IDS = {1: 0, 2: 1, 3: VOID}  # the data set's README: 3 is "not classified"

# SegNet's 11 classes and its colours.
_CAMVID = (
    ("sky", (128, 128, 128)),
    ("building", (128, 0, 0)),
    ("pole", (192, 192, 128)),
    ("road", (128, 64, 128)),
    ("pavement", (60, 40, 222)),
    ("tree", (128, 128, 0)),
    ("sign", (192, 128, 128)),
    ("fence", (64, 64, 128)),
    ("car", (64, 0, 128)),
    ("pedestrian", (64, 64, 0)),
    ("bicyclist", (0, 128, 192)),
)
CAMVID = tuple(name for name, _ in _CAMVID)
CAMVID_COLOURS = tuple(colour for _, colour in _CAMVID)

# What COCO calls the classes of PASCAL VOC, in their order.
COCO_OF_VOC = dict(
    zip(
        (
            *("airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair"),
            *("cow", "dining table", "dog", "horse", "motorcycle", "person", "potted plant"),
            *("sheep", "couch", "train", "tv"),
        ),
        range(1, 21),
        strict=True,
    )
)

ADE20K = (
    *("wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane"),
    *("grass", "cabinet", "sidewalk", "person", "earth", "door", "table", "mountain", "plant"),
    *("curtain", "chair", "car", "water", "painting", "sofa", "shelf", "house", "sea", "mirror"),
    *("rug", "field", "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp", "bathtub"),
    *("railing", "cushion", "base", "box", "column", "signboard", "chest of drawers", "counter"),
    *("sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path", "stairs"),
    *("runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge"),
    *("bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench"),
    *("countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar"),
    *("arcade machine", "hovel", "bus", "towel", "light", "truck", "tower", "chandelier"),
    *("awning", "streetlight", "booth", "television", "airplane", "dirt track", "apparel"),
    *("pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet", "poster", "stage"),
    *("van", "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything"),
    *("swimming pool", "stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike"),
    *("cradle", "oven", "ball", "food", "step", "tank", "trade name", "microwave", "pot"),
    *("animal", "bicycle", "lake", "dishwasher", "screen", "blanket", "sculpture", "hood"),
    *("sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate"),
    *("monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag"),
)
"""The 150 classes of ADE20K's objectInfo150.txt, each by the first of its names."""

# placeschallenge, instanceInfo100_train.txt: the same names in the same order without these.
_NO_INSTANCES = {
    *(1, 2, 3, 4, 5, 6, 7, 10, 12, 14, 17, 18, 22, 26, 27, 29, 30, 35, 41, 47, 49, 52, 53, 55),
    *(60, 61, 62, 64, 69, 78, 80, 85, 92, 95, 97, 100, 101, 102, 106, 107, 110, 114, 115, 118),
    *(123, 129, 132, 141, 142, 146),
}
ADE20K_OBJECTS = tuple(
    name for number, name in enumerate(ADE20K, start=1) if number not in _NO_INSTANCES
)
ADE20K_OBJECT_IDS = {0: VOID} | {k + 1: k for k in range(len(ADE20K_OBJECTS))}

# The void labels of cityscapesScripts: polegroup and license plate share colours with pole and car.
_CITYSCAPES_VOID = (
    *((0, 0, 0), (111, 74, 0), (81, 0, 81), (250, 170, 160), (230, 150, 140), (180, 165, 180)),
    *((150, 100, 100), (150, 120, 90), (0, 0, 90), (0, 0, 110)),
)
# The other 20 of CamVid's 32 classes: SegNet counts them to these of its 11.
_CAMVID_MERGED = {
    "building": ((192, 0, 128), (0, 128, 64), (64, 0, 64), (64, 192, 0)),
    "pole": ((0, 0, 64),),
    "road": ((128, 0, 192), (192, 0, 64)),
    "pavement": ((0, 0, 192), (64, 192, 128), (128, 128, 192)),
    "tree": ((192, 192, 0),),
    "sign": ((128, 128, 64), (0, 64, 64)),
    "car": ((64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)),
    "pedestrian": ((192, 128, 64), (64, 0, 192), (64, 128, 64)),
    "bicyclist": ((192, 0, 192),),
    "void": ((0, 0, 0),),
}


def _voc_colours():
    from keras_dup._label_maps import palette

    colours = [tuple(row) for row in palette().tolist()]
    return [*zip(VOC, colours, strict=False), ("void", colours[VOID])]


def _camvid_colours():
    merged = [(name, colour) for name, row in _CAMVID_MERGED.items() for colour in row]
    return [*_CAMVID, *merged]


def _cityscapes_colours():
    void = [("void", colour) for colour in _CITYSCAPES_VOID]
    return [*((name, colour) for name, _, colour in _CITYSCAPES), *void]


COLOUR_TABLES = {
    "voc2012": _voc_colours,
    "camvid": _camvid_colours,
    "cityscapes": _cityscapes_colours,
}
"""{name: function that returns rows (class, colour); equal names are one class, "void" is void}."""

ID_TABLES = {
    "cityscapes": (CITYSCAPES, CITYSCAPES_IDS),  # of *_gtFine_labelIds.png
    "ade20k": (ADE20K, {0: VOID} | {k + 1: k for k in range(len(ADE20K))}),
    "oxford_iiit_pet": (PET, PET_IDS),
}
"""{name: (classes, {id in the files: class id})}."""
