"""Read days, moments and keys as people write them."""

from __future__ import annotations

from datetime import UTC, datetime
from datetime import date as Date

from pydantic import ValidationError

from reporting.errors import UsageError
from reporting.key import KEY_PARTS, RunKey
from reporting.stores.base import RecordStore


def parse_day(text: str) -> Date:
    """Return a day written YYYY-MM-DD.

    Raises:
        UsageError: it is written otherwise.
    """
    try:
        day = Date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:  # Python also reads 20261101 and 2026-W44-7
        raise UsageError(f"{text!r} is no day; write it YYYY-MM-DD, as in 2026-11-01")
    return day


def parse_moment(text: str | None) -> datetime | None:
    """Return a moment in ISO 8601; without a zone it is UTC.

    Raises:
        UsageError: it is written otherwise.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no moment; write it as in 2026-11-01T06:00:00") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def parse_key(text: str) -> RunKey:
    """Return a key written task/date/category/subinstance/planid.

    Raises:
        UsageError: it has another form.
    """
    parts = text.split("/")
    if len(parts) != len(KEY_PARTS):
        raise UsageError(f"{text!r} has {len(parts)} parts; a key is {'/'.join(KEY_PARTS)}")
    try:
        return RunKey.model_validate(dict(zip(KEY_PARTS, parts, strict=True)))
    except ValidationError as error:
        raise UsageError(f"{text!r}: {error.errors()[0]['msg']}") from None


def span(store: RecordStore, date: str | None, first: str | None, last: str | None) -> tuple[Date, Date]:
    """Return the first and last day meant; without any, all days that have plans.

    Raises:
        UsageError: the options contradict each other.
    """
    if date is not None:
        if first is not None or last is not None:
            raise UsageError("give either --date, or --from and --to")
        return parse_day(date), parse_day(date)
    days = _known_days(store)
    start = parse_day(first) if first is not None else min(days)
    end = parse_day(last) if last is not None else max(days)
    if end < start:
        raise UsageError(f"--to {end} is before --from {start}; swap them")
    return start, end


def latest_day(store: RecordStore) -> Date:
    """Return the last day that has a plan."""
    return max(_known_days(store))


def _known_days(store: RecordStore) -> set[Date]:
    days = {day for plan in store.plans() for day in plan.dates}
    if not days:
        raise UsageError("nothing has been run here yet; begin with `funnelgate run --source MANIFEST --date DAY`")
    return days
