"""A tracker in a process of its own: vos track VIDEO --mask M --tracker exec:"python my_tracker.py".

Needs numpy alone. Put your model into `Tracker`; `serve` below it speaks the protocol.
"""

import json
import os
import sys
import traceback

import numpy as np


class Tracker:
    """An object's pixels are those near its last mask whose colour is nearer to its own than to the surroundings."""

    def start(self, image, label_map):
        self.masks = {int(i): label_map == i for i in np.unique(label_map) if 0 < i < 255}
        surroundings = image[label_map == 0] if (label_map == 0).any() else image.reshape(-1, 3)
        self.background = surroundings.mean(0)
        self.colours = {i: image[mask].mean(0) for i, mask in self.masks.items()}

    def step(self, image):
        """Return uint8 (H, W), or float32 logits (K, h, w), and the ids that are known."""
        label_map = np.zeros(image.shape[:2], np.uint8)
        for i, mask in self.masks.items():
            near = np.zeros_like(mask)
            for y in (-3, 0, 3):
                for x in (-3, 0, 3):
                    near |= np.roll(mask, (y, x), (0, 1))
            own, other = (((image - c) ** 2).sum(-1) for c in (self.colours[i], self.background))
            found = near & (own < other)
            self.masks[i] = found if found.any() else mask
            label_map[found] = i
        return label_map, sorted(self.masks)


def serve(tracker):
    """Answer the messages on standard input until it ends; what the model prints goes to standard error."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while line := source.readline():
        ask, answer, payload = json.loads(line[4:]), {}, b""
        pixels = np.frombuffer(source.read(ask["bytes"]), np.uint8)
        source.read(1 if ask["bytes"] else 0)
        try:
            size = ask.get("height", 0), ask.get("width", 0)
            image, label_map = pixels[: 3 * size[0] * size[1]], pixels[-size[0] * size[1] :]
            if ask["call"] == "hello":
                answer = {"protocol": 1, "capabilities": [c for c in ("annotate", "forget") if hasattr(tracker, c)]}
            elif ask["call"] == "start":
                tracker.start(image.reshape(*size, 3), label_map.reshape(size))
            elif ask["call"] == "step":
                result, ids = tracker.step(image.reshape(*size, 3))
                form = "label_map" if result.dtype == np.uint8 else "logits"
                answer = {"form": form, "object_ids": ids, "height": result.shape[-2], "width": result.shape[-1]}
                payload = np.ascontiguousarray(result).tobytes()
            elif ask["call"] == "annotate":
                tracker.annotate(label_map.reshape(size))
            elif ask["call"] == "forget":
                tracker.forget(ask["object_id"])
        except Exception as error:
            traceback.print_exc()
            answer, payload = {"error": f"{type(error).__name__}: {error}"}, b""
        header = json.dumps({**answer, "id": ask["id"], "bytes": len(payload)})
        sink.write(b"VOS " + header.encode() + b"\n" + payload + (b"\n" if payload else b""))
        sink.flush()
        if ask["call"] == "close":
            return


if __name__ == "__main__":
    serve(Tracker())
