"""Fixtures for pytest: `registry`, and `registry_factory` for registries with options.

A test that passes although a fault was never injected fails. Each test gets a registry of its own.
"""

from typing import Callable, Generator, Iterator, List

import pytest

from ._registry import FaultNotInjected, Option, TestRegistry

_STARTED = pytest.StashKey[List[TestRegistry]]()


@pytest.fixture
def registry_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., TestRegistry]]:
    """Starts registries with options, such as `registry_factory(bearer="ann:pw", tls=True)`."""
    started: List[TestRegistry] = []
    request.node.stash[_STARTED] = started

    def start(**options: Option) -> TestRegistry:
        registry = TestRegistry(**options)
        started.append(registry)
        return registry

    yield start
    for registry in started:
        registry.close()


@pytest.fixture
def registry(registry_factory: Callable[..., TestRegistry]) -> TestRegistry:
    """A registry without a login, in plain HTTP."""
    return registry_factory()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Makes the test fail, rather than the end of its fixture, if a fault was never injected."""
    # An exception of the test itself ends this function here.
    result = yield
    for registry in item.stash.get(_STARTED, []):
        try:
            registry.assert_faults_fired()
        except FaultNotInjected as error:
            pytest.fail(str(error), pytrace=False)
    return result
