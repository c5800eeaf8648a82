"""Train a tiny Segment Anything on drawn shapes: a model that truly segments, for tests of behaviour.

    python tests/tools/train_sam_shapes.py tests/data/sam_shapes/sam_shapes.pth

Real classes, real checkpoint format: 160 px input, 20 x 20 grid. Each step draws scenes of textured shapes on textured
ground; each object is asked for with points, a box, a mask, or several of them. Losses are those of the paper
(arXiv:2304.02643, appendix A: focal and dice on the best of the three masks, squared error of the predicted IoU), and
one more: cells of an object are to resemble its mean and no other object's, which the published models, trained on a
billion masks, do without being told.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

SIDE, PATCH, WIDTH, DEPTH = 160, 8, 64, 2
GRID = SIDE // PATCH
LOW = 4 * GRID
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
OBJECTS = 3


def make_sam() -> Sam:
    """The model: 0.31 million parameters."""
    return Sam(
        ImageEncoderViT(
            img_size=SIDE,
            patch_size=PATCH,
            embed_dim=WIDTH,
            depth=DEPTH,
            num_heads=2,
            mlp_ratio=2,
            out_chans=WIDTH,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            global_attn_indexes=(0, 1),
        ),
        PromptEncoder(
            embed_dim=WIDTH, image_embedding_size=(GRID, GRID), input_image_size=(SIDE, SIDE), mask_in_chans=16
        ),
        MaskDecoder(
            transformer_dim=WIDTH,
            transformer=TwoWayTransformer(depth=2, embedding_dim=WIDTH, num_heads=4, mlp_dim=128),
            num_multimask_outputs=3,
            iou_head_depth=3,
            iou_head_hidden_dim=WIDTH,
        ),
        MEAN,
        STD,
    )


def colour(random: np.random.Generator) -> np.ndarray:
    """A saturated colour, or now and then a grey."""
    hsv = np.array([[[random.integers(180), random.integers(60, 256), random.integers(70, 256)]]], np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)


def texture(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A colour with some noise, a slope, or stripes: float32 (height, width, 3)."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    base = colour(random)
    angle = random.uniform(0, np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    kind = random.integers(3)
    if kind == 0:
        share = 0.15 * np.sin(along / random.uniform(3, 20))
    elif kind == 1:
        share = random.uniform(-0.3, 0.3) * along / SIDE
    else:
        share = np.zeros_like(along)
    noise = cv2.resize(random.normal(0, random.uniform(0, 14), (height // 2, width // 2, 3)), (width, height))
    return base * (1 + share[..., None]) + noise


def shape(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A disc, a box, a polygon, or a star somewhere: bool (height, width)."""
    canvas = np.zeros((height, width), np.uint8)
    radius = np.exp(random.uniform(np.log(8), np.log(42)))
    center = np.array([random.uniform(0, width), random.uniform(0, height)])
    kind = random.integers(4)
    angle = random.uniform(0, 360)
    if kind == 0:
        axes = (int(radius), int(radius * random.uniform(0.5, 1)))
        cv2.ellipse(canvas, center.astype(int).tolist(), axes, angle, 0, 360, 1, -1)
    else:
        count = 4 if kind == 1 else int(random.integers(3, 9))
        turns = np.linspace(0, 2 * np.pi, count, endpoint=False) + np.deg2rad(angle)
        reach = radius * (random.uniform(0.45, 1, count) if kind == 3 else np.ones(count))
        corners = center + reach[:, None] * np.stack([np.cos(turns), np.sin(turns)], 1)
        cv2.fillPoly(canvas, [corners.round().astype(np.int32)], 1)
    return canvas.astype(bool)


def scene(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image, uint8 (SIDE, SIDE, 3), zero where padded, and OBJECTS visible masks, bool."""
    while True:
        height = SIDE if random.random() < 0.3 else int(random.integers(SIDE // 2, SIDE))
        size = (height, SIDE) if random.random() < 0.8 else (SIDE, height)
        image = texture(random, *size)
        masks = np.zeros((OBJECTS, SIDE, SIDE), bool)
        for index in range(OBJECTS):
            mask = shape(random, *size)
            image[mask] = texture(random, *size)[mask]
            masks[:, : size[0], : size[1]] &= ~mask
            masks[index, : size[0], : size[1]] = mask
        if random.random() < 0.5:
            image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.4, 1.2))
        if masks.sum(axis=(1, 2)).min() >= 60:
            padded = np.zeros((SIDE, SIDE, 3), np.uint8)
            padded[: size[0], : size[1]] = image.clip(0, 255)
            return padded, masks


def prompts(sam: Sam, masks: torch.Tensor, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Embed one kind of prompt for all of a scene's objects."""
    count = len(masks)
    kind = random.integers(5)
    points = boxes = rough = None
    if kind != 1:
        per = int(random.integers(1, 4))
        xy, labels = np.zeros((count, per, 2)), np.ones((count, per))
        for row, mask in enumerate(masks.numpy()):
            inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
            for index in range(per):
                on = index == 0 or random.random() < 0.7
                y, x = np.nonzero((inner if inner.any() else mask) if on else ~mask)
                pick = random.integers(len(x))
                xy[row, index], labels[row, index] = (x[pick], y[pick]), on
        points = torch.from_numpy(xy).float(), torch.from_numpy(labels).float()
    if kind in (1, 2, 4):
        boxes = torch.zeros(count, 4)
        for row, mask in enumerate(masks.numpy()):
            y, x = np.nonzero(mask)
            jitter = random.normal(0, 0.06, 4) * np.array([np.ptp(x), np.ptp(y)] * 2)
            boxes[row] = torch.from_numpy(np.array([x.min(), y.min(), x.max(), y.max()]) + jitter)
    if kind in (3, 4):
        rough = F.interpolate(masks[:, None].float(), (LOW // 4, LOW // 4), mode="area")
        rough = rough + torch.from_numpy(random.normal(0, 0.25, rough.shape)).float()
        rough = (F.interpolate(rough, (LOW, LOW), mode="bilinear") * 2 - 1) * float(random.uniform(4, 14))
    return sam.prompt_encoder(points=points, boxes=boxes, masks=rough)


def mask_losses(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """20 x focal + dice of (K, M, h, w) against (K, h, w): (K, M)."""
    target = target[:, None].expand_as(logits)
    prob = logits.sigmoid()
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    right = prob * target + (1 - prob) * (1 - target)
    focal = (cross * (1 - right) ** 2 * (0.25 * target + 0.75 * (1 - target))).mean((2, 3))
    dice = 1 - (2 * (prob * target).sum((2, 3)) + 1) / (prob.sum((2, 3)) + target.sum((2, 3)) + 1)
    return 20 * focal + dice


def identity_loss(features: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Cells against the mean features of the scene's objects: each is to resemble its own most."""
    covered = F.interpolate(masks[None].float(), (GRID, GRID), mode="area")[0].flatten(1)
    if (covered.sum(1) < 0.5).any():
        return features.sum() * 0
    cells = F.normalize(features.flatten(1), dim=0)
    means = F.normalize(covered @ features.flatten(1).T, dim=1)
    near = means @ cells / 0.1
    inside = covered > 0.6
    own = near.T[inside.any(0)]
    rest = torch.relu(means @ cells - 0.4)[:, covered.sum(0) < 0.05]
    loss = (rest**2).mean() if rest.numel() else near.sum() * 0
    return loss + (F.cross_entropy(own, inside[:, inside.any(0)].float().argmax(0)) if len(own) else 0)


def train(steps: int, seed: int, batch: int) -> Sam:
    """Train for so many steps."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    random = np.random.default_rng(seed)
    sam = make_sam()
    optimizer = torch.optim.AdamW(sam.parameters(), lr=2e-3, weight_decay=0.01)
    begin = time.monotonic()
    for step in range(steps):
        done = step / steps
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, step / 30) * (0.02 + 0.98 * (1 + np.cos(np.pi * done)) / 2)
        scenes = [scene(random) for _ in range(batch)]
        images = torch.from_numpy(np.stack([image for image, _ in scenes])).permute(0, 3, 1, 2).float()
        valid = (images.sum(1, keepdim=True) > 0).float()
        embedded = sam.image_encoder(((images - sam.pixel_mean) / sam.pixel_std) * valid)
        loss, quality = torch.zeros(()), []
        for features, (_, masks_array) in zip(embedded, scenes, strict=True):
            masks = torch.from_numpy(masks_array)
            target = F.interpolate(masks[:, None].float(), (LOW, LOW), mode="area")[:, 0]
            sparse, dense = prompts(sam, masks, random)
            position = sam.prompt_encoder.get_dense_pe()
            for turn in range(2):
                logits, rated = sam.mask_decoder.predict_masks(features[None], position, sparse, dense)
                each = mask_losses(logits, target)
                best, index = each[:, 1:].min(1)
                hard = logits > 0
                truth = target[:, None] > 0.5
                iou = (hard & truth).sum((2, 3)) / (hard | truth).sum((2, 3)).clamp(min=1)
                loss = loss + best.mean() + 0.3 * each[:, 0].mean() + 0.1 * each[:, 1:].mean()
                loss = loss + F.mse_loss(rated, iou)
                quality.append(iou[:, 1:].gather(1, rated[:, 1:].argmax(1, keepdim=True)).mean().item())
                if turn == 0:
                    chosen = logits[torch.arange(len(logits)), index + 1].detach()
                    dense = sam.prompt_encoder(None, None, chosen[:, None])[1]
            loss = loss + identity_loss(features, masks)
        optimizer.zero_grad()
        (loss / batch).backward()
        torch.nn.utils.clip_grad_norm_(sam.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 0:
            seconds = time.monotonic() - begin
            print(f"{step:5d} {seconds:4.0f} s  loss {loss.item() / batch:.3f}  iou {np.mean(quality):.3f}", flush=True)
    return sam.eval()


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=4)
    arguments = parser.parse_args()
    sam = train(arguments.steps, arguments.seed, arguments.batch)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: value.contiguous() for name, value in sam.state_dict().items()}, arguments.output)
    print(arguments.output, arguments.output.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
