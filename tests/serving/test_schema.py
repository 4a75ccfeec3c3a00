"""The schema itself asks: whatever it allows, and what it does not, no answer is a fault of the server."""

from itertools import product
from typing import Any

import pytest
from starlette.testclient import TestClient


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # how schemathesis hands raw bodies over
def test_no_request_that_the_schema_can_think_of_is_a_fault_of_the_server(client: TestClient) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.errors import Unsatisfiable

    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    asked: dict[str, int] = {}
    modes = schemathesis.GenerationMode
    for found, mode in product(list(schema.get_all_operations()), (modes.POSITIVE, modes.NEGATIVE)):
        operation = found.ok()
        if mode is modes.NEGATIVE and not (operation.body or operation.path_parameters or operation.query):
            continue  # there is nothing to get wrong
        case_of = operation.as_strategy(generation_mode=mode)

        def ask(case: Any) -> None:
            given = case.as_transport_kwargs(base_url="http://testserver")
            given.pop("cookies", None)
            method, url = given.pop("method"), given.pop("url")
            answer = client.request(method, url, **given)
            assert answer.status_code < 500 or "waiting" in answer.text, (method, url, given, answer.text)
            asked[f"{method} {case.operation.path}"] = asked.get(f"{method} {case.operation.path}", 0) + 1

        from hypothesis import given as for_all

        quick = settings(max_examples=40, deadline=None, database=None, derandomize=True, phases=(Phase.generate,))
        try:
            settings(quick, suppress_health_check=list(HealthCheck))(for_all(case_of)(ask))()
        except Unsatisfiable:
            assert mode is modes.NEGATIVE, "every operation has requests that are right; some have none that are wrong"
    assert len(asked) >= 9, asked
    assert sum(asked.values()) > 150
    assert client.get("/ready").status_code == 200
