"""A container registry for tests.

    with TestRegistry() as registry:
        registry.fault(on="PUT manifest", first=2, status=429, retry_after=1)
        push(registry.reference("app:v1"))
        assert registry.pushed("app:v1")
        assert len(registry.requests("PUT manifest")) == 3

With pytest, use the fixtures `registry` and `registry_factory` instead.
"""

from ._registry import ControlError, FaultNotInjected, Request, TestRegistry

__all__ = ["ControlError", "FaultNotInjected", "Request", "TestRegistry"]
