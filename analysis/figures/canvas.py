"""Figure with a deterministic layout: every drawing gives the same bytes."""

from io import BytesIO
from typing import Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox

from analysis import style

_DIGITS = 9


class Sheet(Figure):
    """Figure of given width and height (inches); a notebook shows it in our style."""

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), layout=_Steady())

    def _repr_png_(self) -> bytes:
        written = BytesIO()
        with style.style():
            self.savefig(written, format="png")
        return written.getvalue()


class _Steady(ConstrainedLayoutEngine):
    """Layout with rounded positions: the solver's last bits differ between drawings."""

    def __init__(self) -> None:
        super().__init__(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)

    def execute(self, fig: Any) -> Any:
        grids = super().execute(fig)
        for ax in fig.axes:
            ends = ax.get_position(original=True).get_points()
            ax.set_position(Bbox(ends.round(_DIGITS)))
            ax.set_in_layout(True)  # set_position removes the axes from the layout
        for part in fig.subfigs:
            part.bbox_relative.set(Bbox(part.bbox_relative.get_points().round(_DIGITS)))
            for text in part.texts:
                x, y = text.get_position()
                text.set_position((round(x, _DIGITS), round(y, _DIGITS)))
        return grids
