"""What panels are laid out on: the same place at every drawing, to the last bit."""

from io import BytesIO
from typing import Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox

from analysis import style

_DIGITS = 9


class Sheet(Figure):
    """A figure of that width and height in inches, which a notebook shows in our style."""

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), layout=_Steady())

    def _repr_png_(self) -> bytes:
        written = BytesIO()
        with style.style():
            self.savefig(written, format="png")
        return written.getvalue()


class _Steady(ConstrainedLayoutEngine):
    """Its solver ends a last bit apart from one drawing to the next; files show that."""

    def __init__(self) -> None:
        super().__init__(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)

    def execute(self, fig: Any) -> Any:
        grids = super().execute(fig)
        for ax in fig.axes:
            ends = ax.get_position(original=True).get_points()
            ax.set_position(Bbox(ends.round(_DIGITS)))
            ax.set_in_layout(True)  # a position that is set takes it out
        for part in fig.subfigs:
            part.bbox_relative.set(Bbox(part.bbox_relative.get_points().round(_DIGITS)))
            for text in part.texts:
                x, y = text.get_position()
                text.set_position((round(x, _DIGITS), round(y, _DIGITS)))
        return grids
