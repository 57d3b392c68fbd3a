"""Writers of diagrams: figures, texts, animations. They know a diagram as data, and nothing of the net behind it."""
