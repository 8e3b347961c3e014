"""Drivers against a real server of one's own, and how its refusals read."""

from __future__ import annotations

import traceback
from dataclasses import replace

import pytest
import sqlalchemy

from tests.integration.data.embedded import (
    query,
    works,
)
from tests.integration.postgres15 import OwnServer, own_server  # noqa: F401
from vigie.data.address import DatabaseAddress, check_reachable
from vigie.errors import DatabaseError, DatabaseUnreachable


class TestOwnServer:
    def refusal(self, address: DatabaseAddress) -> str:
        with pytest.raises(DatabaseError) as caught:
            check_reachable(address)
        assert not isinstance(caught.value, DatabaseUnreachable)
        text = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert str(address.password) not in text
        return text

    def test_each_refusal_has_its_own_text(self, own_server: OwnServer) -> None:  # noqa: F811
        own = own_server
        good = DatabaseAddress(own.host, own.port, own.name, own.user, own.password)
        assert int(check_reachable(good)) >= 90000
        assert query(good, "SELECT current_user") == [(own.user,)]
        engine = sqlalchemy.create_engine(good.url())
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1
        engine.dispose()
        assert "refuses the login" in self.refusal(replace(good, password="c4n4ry"))
        assert "refuses the login" in self.refusal(replace(good, user="somebody"))
        missing = self.refusal(replace(good, name="missing"))
        assert "doesn't know that database" in missing
        assert "createdb missing" in missing

    def test_the_second_of_two_hosts_answers(self, own_server: OwnServer) -> None:  # noqa: F811
        own = own_server
        several = replace(
            DatabaseAddress(own.host, 1, own.name, own.user, own.password),
            host=f"{own.host},{own.host}",
            params={"port": f"1,{own.port}"},
        )
        assert check_reachable(several)
        assert works(several)
