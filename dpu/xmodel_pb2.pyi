"""The generated message classes; protobuf makes them when it is imported, so a checker cannot see them."""

from typing import Any

def __getattr__(name: str) -> Any: ...
