# For pyright only: everything in TensorFlow is Any.
#
# TensorFlow ships no types. The partial stubs that pyright brings along refuse calls that are right (a list
# as `seed`, a tensor in a shape), and would drown the mistakes in our own code.
from typing import Any

def __getattr__(name: str) -> Any: ...
