"""The client in examples/exec-tracker, with a tracker that has every capability and answers with logits."""

import sys
from pathlib import Path

from vos.testing import check_tracker

EXAMPLE = Path(__file__).parents[2] / "examples" / "exec-tracker"

PROGRAM = """
import sys
sys.path.insert(0, {example!r})
import numpy as np
from my_tracker import serve

class Capable:
    masks = None

    def start(self, image, label_map):
        self.masks = {{}}
        self.annotate(label_map)

    def annotate(self, label_map):
        self.masks.update({{int(i): label_map == i for i in np.unique(label_map) if i}})

    def forget(self, object_id):
        del self.masks[object_id]

    def step(self, image):
        print("stepping")
        masks = np.array(list(self.masks.values()), bool).reshape(-1, *image.shape[:2])
        return np.where(masks, 1, -1).astype(np.float32), list(self.masks)

serve(Capable())
"""


def test_every_capability_through_the_client(tmp_path):
    program = tmp_path / "capable.py"
    program.write_text(PROGRAM.format(example=str(EXAMPLE)))
    checked = check_tracker(f"exec:{sys.executable} {program}")
    assert {"later-objects", "corrections", "forgetting", "kept-predictions"} <= set(checked)


def test_the_client_needs_numpy_alone_and_is_short():
    lines = (EXAMPLE / "my_tracker.py").read_text().splitlines()
    imports = {line.split()[1] for line in lines if line.startswith(("import ", "from "))}
    assert imports <= {"numpy", *sys.stdlib_module_names}
    protocol = lines[lines.index("def serve(tracker):") :]
    assert len(protocol) < 60
