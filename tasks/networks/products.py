"""Count multiply-adds with given tensors in the operations of a forward pass."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_PRODUCTS = frozenset({"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::mv"})


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count the multiply-adds that each tensor takes part in, within the context.

    `counts` holds them by name, in the order in which the pass first reads the tensors. Parts
    and transposes of a tensor count as the tensor.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: dict[str, int] = {}
        self._names = {_place(tensor): name for name, tensor in tensors.items()}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        operation = function.name().partition(".")[0]
        operands = [
            operand for arg in args for operand in (arg if isinstance(arg, list | tuple) else [arg])
        ]
        for tensor in operands:
            name = self._names.get(_place(tensor)) if isinstance(tensor, Tensor) else None
            if name is not None:
                count = _multiply_adds(operation, tensor, args, result)
                if count is not None:
                    self.counts[name] = self.counts.get(name, 0) + count
        return result


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _multiply_adds(operation: str, weight: Tensor, args: Any, result: Any) -> int | None:
    """Return the multiply-adds of an operation that reads a weight; None if it is no product."""
    if operation in _PRODUCTS:
        left, right = args[-2:]
        return int(left.numel()) * (int(right.shape[-1]) if right.dim() > 1 else 1)
    if operation == "aten::convolution":
        images, transposed = args[0], args[6]
        positions = images if transposed else result
        return weight.numel() * int(positions.numel() // weight.shape[0])
    if operation == "aten::_trilinear":
        return weight.numel() * int(result.numel() // result.shape[-1])
    if operation == "aten::mkldnn_rnn_layer":
        return weight.numel() * int(args[0].numel() // args[0].shape[-1])
    return 0 if operation == "aten::embedding" else None
