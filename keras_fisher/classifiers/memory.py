"""How many images at once fit the memory."""

from __future__ import annotations

from typing import Any

#: Bytes that the images of one chunk may take.
MEMORY_BUDGET = 2**31
#: A larger batch gains nothing on a CPU.
_MAX_BATCH_SIZE = 256
#: What forward, backward and double backward passes hold at the most, in outputs of all operations of a
#: forward pass. Many of those are freed at once. Measured on ResNet-152.
_PASSES_HELD = 0.5
#: The same of a net that is not to be looked into, over the bytes of an image: as ResNet-152 has it.
_HIDDEN_NET = 400


def images_within_budget(bytes_per_image: float) -> int:
    """Returns how many images at once keep within the budget, from 1 to 256."""
    return int(max(1, min(_MAX_BATCH_SIZE, MEMORY_BUDGET // max(bytes_per_image, 1))))


def activation_bytes(graph: Any) -> float:
    """Returns about what the passes through a traced net hold for one image."""
    held = 0
    for operation in graph.get_operations():
        if "PartitionedCall" in operation.type:  # The inside of a SavedModel is not to be seen.
            inputs = graph.inputs[0].shape[1:]
            return _HIDDEN_NET * inputs.num_elements() * graph.inputs[0].dtype.size
        for output in operation.outputs:
            # Of activations alone the first side, the batch, is unknown.
            if output.shape.rank and output.shape[0] is None:
                held += (output.shape[1:].num_elements() or 0) * output.dtype.size
    return _PASSES_HELD * held
