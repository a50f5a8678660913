"""Statements of the hot path: written in SQLAlchemy Core, compiled once, executed by the driver itself.

Core's own `execute` costs 60 to 240 us a statement, several times what SQLite needs for it; a claim with its
completion executes ten. They still run inside the transaction that SQLAlchemy holds open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy import Date as DateType
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable
from sqlalchemy.sql.expression import ClauseElement


class HotStatement:
    """One compiled statement; every value is a bound parameter that `run` is given by name."""

    def __init__(self, statement: Executable, dialect: Dialect):
        assert isinstance(statement, ClauseElement)
        compiled: Any = statement.compile(dialect=dialect)
        self.sql = str(compiled)
        self._constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        self._order: list[str] | None = compiled.positiontup
        self._driver_error: type[Exception] = dialect.loaded_dbapi.Error
        # SQLite has no dates: SQLAlchemy stores them as ISO text, and so does this.
        as_text = dialect.name == "sqlite"
        self._dates = [name for name, bind in compiled.binds.items() if as_text and isinstance(bind.type, DateType)]

    def run(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """Execute on the driver's connection and return its cursor.

        Raises:
            DBAPIError: as SQLAlchemy itself would raise, for `store_errors` to turn into ours.
        """
        driver: Any = connection.connection.driver_connection
        try:
            return driver.execute(self.sql, self.parameters(values))
        except self._driver_error as error:
            raise DBAPIError.instance(self.sql, None, error, self._driver_error, dialect=connection.dialect) from error

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Return the values as the driver wants them: in order, or by name."""
        known = {**self._constants, **values}
        for name in self._dates:
            known[name] = known[name].isoformat()
        return known if self._order is None else [known[name] for name in self._order]
