"""Shared by all pytest files: when a test fails, the ends of the logs of the daemons it ran stand in its report."""
import pytest

from harness import service


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for running in service.services:
            running.failed = True
            report.sections.append((f"end of the log of signetd in {running.dir}", running.tail()))


@pytest.fixture
def services():
    """Makes Service objects that are stopped at the end of the test; one that ended badly fails it."""
    made = []

    def make(*arguments, **keywords):
        made.append(service.Service(*arguments, **keywords))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def closing():
    """closing(x) calls x.close() at the end of the test, the last one first."""
    things = []

    def add(thing):
        things.append(thing)
        return thing

    yield add
    for thing in reversed(things):
        thing.close()
