"""What is logged is caught as ever, at the level that is asked for, and no handler stays."""

import logging

from _pytest.logging import LogCaptureHandler, catching_logs

from tests import root_logging

log = logging.getLogger("picdesk.tests.root_logging")


def test_records_are_caught_and_handlers_go() -> None:
    in_place = catching_logs.__enter__ is root_logging.enter
    assert in_place == ("attached_loggers" in catching_logs.__slots__), "conftest put it in place"
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    with catching_logs(LogCaptureHandler(), level=logging.DEBUG) as caught:
        log.debug("seen")
    with catching_logs(LogCaptureHandler()) as caught_too:
        log.warning("seen too")
    log.warning("not seen")
    assert [record.getMessage() for record in (*caught.records, *caught_too.records)] == ["seen", "seen too"]
    assert (list(logging.getLogger().handlers), logging.getLogger().level) == (handlers, level)
