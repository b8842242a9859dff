"""Writes timetables.txt: what Apache Airflow 2.11 says of schedules.

Run it where Airflow is installed:  AIRFLOW_HOME=$(mktemp -d) python record_timetables.py > timetables.txt
"""

import datetime
import json
import logging
import random
import sys
from unittest import mock

import pendulum
from airflow import DAG
from airflow.datasets import Dataset
from airflow.timetables.base import DataInterval
from airflow.timetables.datasets import DatasetOrTimeSchedule
from airflow.timetables.events import EventsTimetable
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable, DeltaTriggerTimetable
from dateutil.relativedelta import relativedelta, weekday

logging.disable(logging.CRITICAL)
random.seed(211)
UTC = pendulum.timezone("UTC")
SECOND = 1_000_000
# A clock change of each zone, in UTC.
CHANGES = {
    "Europe/Berlin": ["2024-03-31T01:00", "2024-10-27T01:00"],
    "America/New_York": ["2024-03-10T07:00", "2024-11-03T06:00"],
    "Australia/Lord_Howe": ["2024-04-06T15:00", "2024-10-05T15:30"],
    "Pacific/Apia": ["2011-12-30T10:00", "2020-09-26T14:00"],
    "UTC": ["2024-02-28T22:00"],
    "Asia/Kolkata": ["2023-12-31T18:30"],
}
CRONS = [
    "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly", "@midnight",
    "0 0 * * *", "30 2 * * *", "*/20 * * * *", "15 */2 * * *", "0 1-3 * * *", "30 2 * * sun", "0 0 L * *",
    "0 6 * * mon-fri", "0 0 1,15 * fri", "0 12 * * 5#2", "0 3 * * l7", "10 2-3 * * *", "0 0 15w * *", "59 23 31 * *",
    "5/25 1 * * *", "0 0 29 2 *", "*/7 0-4/2 * 3,10,4,11 *", "0 0 * * * 30", "* * * * * */20", "0 2 * * * 0,30 2024",
    "0 0 30 2 *", "0 0 * * sat-mon", "0 0 1 nov-feb *", "0 0 1 1 * 0 2090", "0 0 1 1 * 0 2060",
]
DELTAS = [
    {"microseconds": 1}, {"microseconds": 250_000}, {"seconds": 90}, {"minutes": 7}, {"hours": 1}, {"hours": 5},
    {"days": 1}, {"weeks": 1}, {"days": 2, "seconds": 3, "microseconds": 500_000}, {"days": 400},
]
RELATIVES = [
    {"months": 1}, {"months": 1, "days": 1}, {"years": 1}, {"weeks": 1}, {"hours": 36}, {"days": 1, "hour": 6},
    {"months": 1, "day": 31}, {"months": 3, "day": 1, "hour": 0, "minute": 0}, {"days": 1, "weekday": 4},
    {"days": 1, "weekday": [0, 2]}, {"months": 1, "weekday": [4, -1], "day": 31}, {"years": 1, "leapdays": -1},
    {"years": 1, "yearday": 60}, {"years": 1, "nlyearday": 60}, {"minutes": 90, "second": 0}, {"months": 14},
    {"days": 1, "microseconds": 1}, {"microseconds": 10},
]


def delta(fields):
    return datetime.timedelta(**fields)


def relative(fields):
    day = fields.get("weekday")
    if isinstance(day, list):
        fields = {**fields, "weekday": weekday(*day)}
    return relativedelta(**fields)


def micros(fields):
    return delta(fields) // datetime.timedelta(microseconds=1)


def tagged(kind, fields):
    if kind == "delta":
        return {"__type__": "datetime.timedelta", "microseconds": micros(fields)}
    return {"__type__": "dateutil.relativedelta.relativedelta", **fields}


def timetable(path, args, kwargs):
    return {"kind": "timetable", "class": f"airflow.timetables.{path}", "arguments": {"args": args, "kwargs": kwargs}}


def schedules(zone, around):
    """Pairs: as Updraft keeps it, as Airflow takes it."""
    for cron in CRONS:
        yield {"kind": "cron", "expression": cron}, cron
    for fields in DELTAS:
        yield {"kind": "time_delta", "microseconds": micros(fields)}, delta(fields)
    for fields in RELATIVES:
        yield {"kind": "relative_delta", "fields": fields}, relative(fields)
    yield {"kind": "once"}, "@once"
    yield {"kind": "continuous"}, "@continuous"
    yield {"kind": "none"}, None
    other = random.choice(list(CHANGES))
    for cron in random.sample(CRONS, 6):
        for kind, fields in [(None, None), ("delta", {"hours": 3}), ("relative", {"months": 1})]:
            kwargs, ours = {"timezone": other}, {"timezone": other}
            if kind:
                kwargs["interval"] = (delta if kind == "delta" else relative)(fields)
                ours["interval"] = tagged(kind, fields)
            yield timetable("trigger.CronTriggerTimetable", [cron], ours), CronTriggerTimetable(cron, **kwargs)
        ours = timetable("interval.CronDataIntervalTimetable", [], {"cron": cron, "timezone": other})
        yield ours, CronDataIntervalTimetable(cron, timezone=other)
    for kind, make, fields in [("delta", delta, {"hours": 5}), ("relative", relative, {"months": 1})]:
        ours = timetable("interval.DeltaDataIntervalTimetable", [tagged(kind, fields)], {})
        yield ours, DeltaDataIntervalTimetable(make(fields))
        ours = timetable("trigger.DeltaTriggerTimetable", [], {"delta": tagged(kind, fields)})
        yield ours, DeltaTriggerTimetable(make(fields))
        ours = timetable(
            "trigger.DeltaTriggerTimetable", [tagged(kind, fields)], {"interval": tagged("delta", {"minutes": 30})}
        )
        yield ours, DeltaTriggerTimetable(make(fields), interval=datetime.timedelta(minutes=30))
    dates = [around.add(hours=random.randint(-90, 90)) for _ in range(5)]
    texts = [str(date) for date in dates]
    for restrict in (False, True):
        for description in (None, "matches"):
            ours = {"event_dates": texts, "restrict_to_events": restrict, "description": description}
            theirs = EventsTimetable(dates, restrict_to_events=restrict, description=description)
            yield timetable("events.EventsTimetable", [], ours), theirs
    condition = {"postfix": [{"uri": "s3://a/"}, {"all": 1}]}
    yield {"kind": "datasets", "condition": condition}, [Dataset("s3://a/")]
    nested = {"kind": "cron", "expression": "30 2 * * *"}
    theirs = CronDataIntervalTimetable("30 2 * * *", timezone=pendulum.timezone(zone))
    yield (
        {"kind": "dataset_or_time", "condition": condition, "timetable": nested},
        DatasetOrTimeSchedule(timetable=theirs, datasets=[Dataset("s3://a/")]),
    )


def part(low, high, names):
    """A part of a field, right or wrong."""
    value = lambda: random.choice([str(random.randint(low, high))] * 6 + names + [str(high + 1), str(max(low - 1, 0))])
    step = lambda: str(random.choice([1, 2, 3, 5, 7, 15, 40, 0]))
    return random.choice([
        lambda: "*", lambda: "*", value, value, lambda: f"{value()}-{value()}", lambda: f"*/{step()}",
        lambda: f"{value()}/{step()}", lambda: f"{value()}-{value()}/{step()}",
    ])()


def field(low, high, names=(), special=()):
    names, special = list(names), list(special)
    if special and random.random() < 0.3:
        return random.choice(special)
    return ",".join(part(low, high, names) for _ in range(random.choice([1, 1, 1, 2, 3])))


def expression():
    months, days = ["jan", "Feb", "apr", "oct", "DEC"], ["sun", "Mon", "wed", "FRI", "sat"]
    star = lambda make, odds: "*" if random.random() < odds else make()
    fields = [
        field(0, 59),
        star(lambda: field(0, 23), 0.3),
        star(lambda: field(1, 31, ["l"], ["L", "?", "15w", "w31", "1W", "1-L", "*,5", "1-31", "31", "30,L"]), 0.4),
        star(lambda: field(1, 12, months), 0.5),
        star(lambda: field(0, 7, days, ["?", "mon#1", "5#3", "l5", "L0", "sat-sun#2", "1#5,3#1", "0-7", "*/2", "6#6"]), 0.4),
    ]
    if random.random() < 0.25:
        fields.append(field(0, 59))
        if random.random() < 0.5:
            fields.append(star(lambda: field(2020, 2030), 0.3))
    return " ".join(fields)


def ticks():
    """Random expressions: that they are wrong, or what comes next and before."""
    for _ in range(1500):
        cron = expression()
        at = pendulum.from_timestamp(random.randrange(1_500_000_000, 1_900_000_000), tz="UTC")
        timetable = CronDataIntervalTimetable(cron, timezone=UTC)
        try:
            timetable.validate()
        except Exception:
            yield f"wrong|{cron}"
            continue
        try:
            after = timetable._get_next(at)
        except Exception:
            after = None
        try:
            manual = timetable.infer_manual_data_interval(run_after=at)
        except Exception:
            manual = None
        yield f"ticks|{cron}|{show(at)}|{show(after)}|{show_interval(manual)}"


def show(at):
    return "-" if at is None else at.in_timezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def show_interval(interval):
    return "-" if interval is None else f"{show(interval.start)} {show(interval.end)}"


def at_time(now):
    names = ["airflow.timetables.interval.utcnow", "airflow.timetables.trigger.utcnow", "airflow.utils.timezone.utcnow"]
    return [mock.patch(name, return_value=now) for name in names]


def main():
    lines, texts = [], set()
    for zone, changes in CHANGES.items():
        for change in changes:
            around = pendulum.parse(change, tz=UTC)
            for ours, theirs in schedules(zone, around):
                ours = json.dumps(ours, separators=(",", ":"))
                start = random.choice([
                    None,
                    around.subtract(days=random.randint(0, 40), minutes=random.randint(0, 3000)),
                    around.subtract(hours=random.randint(0, 30)),
                    around.add(hours=random.randint(0, 9)),
                ])
                end = random.choice([None, None, None, around.add(hours=random.randint(0, 60))])
                if start is not None and end is not None and end < start:
                    end = start
                catchup = random.random() < 0.5
                now = around.add(microseconds=random.choice([0, SECOND, random.randrange(3 * 86400 * SECOND)]))
                local = lambda at: at and at.in_timezone(pendulum.timezone(zone))
                settings = {"default_args": {"start_date": local(start) or local(around)}} if start is None else {}
                # A DAG takes its zone from a start date.
                dag = DAG("d", schedule=theirs, start_date=local(start), end_date=local(end), catchup=catchup,
                          max_active_runs=1, **settings)
                if dag.timezone.name != zone:
                    raise AssertionError(dag.timezone)
                texts.add("|".join(["text", ours, dag.timetable.summary, dag.timetable.description]))
                if start is None:
                    dag.start_date = None
                    dag.__dict__.pop("_time_restriction", None)
                patches = at_time(now)
                for patch in patches:
                    patch.start()
                try:
                    last = random.choice([
                        None, None, DataInterval(around.subtract(hours=30, minutes=1), around.subtract(hours=6))
                    ])
                    for _ in range(4):
                        info = dag.next_dagrun_info(last)
                        found = "-" if info is None else f"{show_interval(info.data_interval)} {show(info.run_after)}"
                        lines.append("|".join([
                            "next", ours, zone, show(start), show(end), str(catchup).lower(), show(now),
                            show_interval(last), found,
                        ]))
                        if info is None:
                            break
                        last = info.data_interval
                    try:
                        manual = dag.timetable.infer_manual_data_interval(run_after=now)
                    except Exception:
                        manual = None
                    lines.append("|".join(["manual", ours, zone, show(now), show_interval(manual)]))
                finally:
                    for patch in patches:
                        patch.stop()
    lines = sorted(set(random.sample(lines, 1500))) + sorted(texts)
    print("\n".join(lines + sorted(set(ticks()))))


if __name__ == "__main__":
    sys.exit(main())
