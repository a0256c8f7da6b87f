"""What pictures can be made of a photograph."""

PICTURE_FORMATS = ("png", "jpg", "webp")
VIEWS = ("side_by_side", "overlay", "save_mask", "probability", "gradcam")
"""Pictures of what a network sees."""
