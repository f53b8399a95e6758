"""The width option of the convolutional networks."""


def scaled(channels: int, width: float) -> int:
    """Return the channels of a layer in a network `width` times as wide, at least one."""
    return max(1, round(channels * width))
