"""Results and incidents as the checks keep them in SQL and queue them for the shipper."""

from __future__ import annotations

from datetime import date as Date
from datetime import timedelta

from checks.incidents import Impact, Incident, IncidentState, Severity, episode_of, fingerprint_of
from checks.result import Cause, Place, Result, Status
from reporting.stores.sql_work import SqlUnitOfWork, iso
from reporting.tables import evaluation, incident
from reporting.testing import DAY, MOMENT


def full_result(day: Date = DAY, instance: str = "dedup->listing category=c d subinstance=0003") -> Result:
    """A result with every field set."""
    return Result(
        id="edges",
        kind="reconcile",
        instance=instance,
        key=Place(
            task="listing", source="dedup", date=day, planid="p-1", group={"category": "c d", "subinstance": "0003"}
        ),
        status=Status.FAIL,
        counts=False,
        value=90.0,
        expected=100.0,
        tolerance=0.5,
        numerator=90.0,
        denominator=100.0,
        history=56,
        reason="took in 90 of 100 pictures",
        explain=(Cause(where={"category": ("c d",)}, missing=10, share=1.0),),
        sentence="100 % of 10 missing pictures: category=c d",
        repair="funnelgate run --kind rerun",
        details={"a.b": {"": [1, None, {"..": True}]}},
        as_of=MOMENT,
        config_hash="0123456789abcdef",
    )


def full_incident(day: Date = DAY, revision: int = 3) -> Incident:
    """An incident with every field set that its document has."""
    result = full_result(day)
    fingerprint = fingerprint_of(result)
    impact = Impact(
        fingerprint="f",
        check="volume",
        kind="drift",
        instance="crop",
        task="crop",
        severity=Severity.WARN,
        size=0.1,
        reason="less than usual",
    )
    return Incident(
        episode=episode_of(fingerprint, MOMENT),
        fingerprint=fingerprint,
        state=IncidentState.RESOLVED,
        severity=Severity.PAGE,
        result=result,
        opened_at=MOMENT,
        updated_at=MOMENT + timedelta(hours=2),
        fired_at=MOMENT + timedelta(microseconds=1),
        closed_at=MOMENT + timedelta(hours=2),
        note="superseded by p-2",
        benign=True,
        revision=revision,
        seen="s",
        as_of=MOMENT,
        planids=("p-1", "p-2"),
        impact=(impact,),
        cause="another",
        owner="on-call",
    )


def say(work: SqlUnitOfWork, run_id: str, result: Result) -> None:
    """Write a result and queue it, as a run of the checks does."""
    body = result.model_dump_json(exclude_defaults=True)
    row = {"run_id": run_id, "check_id": result.id, "instance": result.instance, "date": result.key.date, "body": body}
    rest = {"status": result.status.value, "as_of": iso(result.as_of), "config_hash": result.config_hash}
    work.connection.execute(evaluation.insert(), [{**row, **rest}])
    work.ship_evaluation(run_id, result.id, result.instance, body, iso(MOMENT))


def keep(work: SqlUnitOfWork, one: Incident) -> None:
    """Write an incident and queue it, as a change of it does."""
    body = one.model_dump_json()
    row = {"episode": one.episode, "fingerprint": one.fingerprint, "date": one.date, "state": one.state.value}
    times = {"opened_at": iso(one.opened_at), "updated_at": iso(one.updated_at)}
    work.connection.execute(incident.delete().where(incident.c.episode == one.episode))
    work.connection.execute(incident.insert().values(**row, **times, revision=one.revision, body=body))
    work.ship_incident(one.episode, one.revision, body, iso(one.updated_at))
