"""What the chest-CT network tells apart, in index order."""

NORMAL = "normal"
LESIONS = ("nodule", "ground_glass")
"""Detection's labels are their indices from 1 on; 0 is background."""

CLASSES = (NORMAL, *LESIONS)
"""Of a slice, and of a subject."""
