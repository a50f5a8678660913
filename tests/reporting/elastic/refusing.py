"""A check that must fail, and a key that must not be in what it says."""

from __future__ import annotations

import base64

import pytest
from pydantic import SecretStr

from reporting.elastic.client import check, connect
from reporting.errors import FunnelgateError
from reporting.settings import ElasticSettings

KEY = base64.b64encode(b"abcDEF123:the-secret-of-the-tests").decode()
SECRET = SecretStr(KEY)


def refusal(settings: ElasticSettings) -> FunnelgateError:
    """Return the error of a check, which must be one line without the key, down to its last cause."""
    with pytest.raises(FunnelgateError) as caught, connect(settings) as client:
        check(client)
    error: BaseException | None = caught.value
    assert "\n" not in str(error)
    while error is not None:
        assert KEY not in repr(error)
        assert KEY not in str(error)
        error = error.__cause__ or error.__context__
    return caught.value
