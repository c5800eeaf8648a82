"""How the shipped head was trained: images gathered, clips drawn, cues recorded, the head fitted."""
