"""The public YOLO families as cfgs for tests, written down from their papers and public layer tables.

Sources: Redmon & Farhadi, YOLO9000, arXiv:1612.08242 (yolov2, yolov2-tiny); YOLOv3, arXiv:1804.02767; Huang et al.,
DC-SPP-YOLO, arXiv:1903.08589 (yolov3-spp); Wang et al., Scaled-YOLOv4, arXiv:2011.08036 (yolov4-tiny).
"""

from __future__ import annotations

from typing import Dict, List

from compress.darknet.cfg import Cfg, parse_cfg
from compress.darknet.topologies import YOLOV3_ANCHORS, YOLOV3_TINY_ANCHORS, with_width

# One word a section: c3/32 is a convolution of size 3 with 32 filters (c3/32/2: stride 2), m2/2 a maxpool of size 2
# and stride 2, s-3 a shortcut, r-1,8 a route (r-1:1 its second half), u an upsample, o a reorg. A head convolution and
# its section are one word: yolo:678 has these anchors of YOLOv3's, tiny:345 and tiny4:345 of the tiny ones'.
_DARKNET_19 = (
    "c3/32 m2/2 c3/64 m2/2 c3/128 c1/64 c3/128 m2/2 c3/256 c1/128 c3/256 m2/2 c3/512 c1/256 c3/512 c1/256 c3/512 m2/2 "
    "c3/1024 c1/512 c3/1024 c1/512 c3/1024"
)
_DARKNET_53 = "c3/32 " + " ".join(
    f"c3/{64 << stage}/2 " + f"c1/{32 << stage} c3/{64 << stage} s-3 " * blocks
    for stage, blocks in enumerate((1, 2, 8, 8, 4))
)
_THREE_HEADS = " ".join(
    (
        "c1/512 c3/1024 c1/512 c3/1024 yolo:678",
        "r-4 c1/256 u r-1,61 c1/256 c3/512 c1/256 c3/512 c1/256 c3/512 yolo:345",
        "r-4 c1/128 u r-1,36 c1/128 c3/256 c1/128 c3/256 c1/128 c3/256 yolo:012",
    )
)
_PYRAMID = "c1/512 m5/1 r-2 m9/1 r-4 m13/1 r-1,-3,-5,-6"
_CSP = "c3/{0} r-1:1 c3/{1} c3/{1} r-1,-2 c1/{0} r-6,-1 m2/2"
_FAMILIES: Dict[str, str] = {
    "yolov2": f"{_DARKNET_19} c3/1024 c3/1024 r-9 c1/64 o r-1,-4 c3/1024 region",
    "yolov2-tiny": "c3/16 m2/2 c3/32 m2/2 c3/64 m2/2 c3/128 m2/2 c3/256 m2/2 c3/512 m2/1 c3/1024 c3/512 region",
    "yolov3": f"{_DARKNET_53} c1/512 c3/1024 {_THREE_HEADS}",
    "yolov3-spp": f"{_DARKNET_53} c1/512 c3/1024 {_PYRAMID} {_THREE_HEADS}",
    "yolov3-tiny": "c3/16 m2/2 c3/32 m2/2 c3/64 m2/2 c3/128 m2/2 c3/256 m2/2 c3/512 m2/1 c3/1024 c1/256 c3/512 "
    "tiny:345 r-4 c1/128 u r-1,8 c3/256 tiny:012",
    "yolov4-tiny": f"c3/32/2 c3/64/2 {_CSP.format(64, 32)} {_CSP.format(128, 64)} {_CSP.format(256, 128)} "
    "c3/512 c1/256 c3/512 tiny4:345 r-4 c1/128 u r-1,23 c3/256 tiny4:123",
}
FAMILIES = tuple(_FAMILIES)
_REGION_ANCHORS = "0.57273,0.677385, 1.87446,2.06253, 3.33843,5.47434, 7.88282,3.52778, 9.77052,9.16828"


def family_cfg(name: str, classes: int = 3, height: int = 64, width: int = 64, factor: float = 1.0) -> Cfg:
    """One of `FAMILIES` with so many classes, input pixels and a factor on its filters."""
    texts = [f"[net]\nwidth={width}\nheight={height}\nchannels=3"]
    for word in _FAMILIES[name].split():
        texts += _section(word, classes)
    return with_width(parse_cfg("\n".join(texts) + "\n", name), factor)


def _section(word: str, classes: int) -> List[str]:
    if word == "region":
        region = f"[region]\nanchors={_REGION_ANCHORS}\nbias_match=1\nclasses={classes}\ncoords=4\nnum=5\nsoftmax=1"
        return [_head(5, classes), region]
    family, _, mask = word.partition(":")
    if family in ("yolo", "tiny", "tiny4"):
        sizes = YOLOV3_ANCHORS if family == "yolo" else YOLOV3_TINY_ANCHORS
        anchors = ", ".join(f"{w},{h}" for w, h in sizes)
        yolo = f"[yolo]\nmask={','.join(mask)}\nanchors={anchors}\nclasses={classes}\nnum={len(sizes)}"
        return [_head(3, classes), yolo + ("\nscale_x_y=1.05" if family == "tiny4" else "")]
    kind, rest = word[0], word[1:]
    if kind == "c":
        size, filters, stride = (*rest.split("/"), "1")[:3]
        shape = f"filters={filters}\nsize={size}\nstride={stride}\npad=1"
        return [f"[convolutional]\nbatch_normalize=1\n{shape}\nactivation=leaky"]
    if kind == "m":
        size, stride = rest.split("/")
        return [f"[maxpool]\nsize={size}\nstride={stride}"]
    if kind == "r":
        layers, _, half = rest.partition(":")
        return [f"[route]\nlayers={layers}" + (f"\ngroups=2\ngroup_id={half}" if half else "")]
    if kind == "s":
        return [f"[shortcut]\nfrom={rest}\nactivation=linear"]
    return [{"u": "[upsample]\nstride=2", "o": "[reorg]\nstride=2"}[kind]]


def _head(anchors: int, classes: int) -> str:
    return f"[convolutional]\nsize=1\nstride=1\npad=1\nfilters={anchors * (5 + classes)}\nactivation=linear"
