"""The event log: who did what, and what became of tasks."""

import datetime

from airflow_client.client import models

from harness import UTC, check, equal, plain, step, subset, when


def names(answer):
    return [e["event"] for e in answer["event_logs"]]


@step("eventLogs list and get: newest first, pages, own action")
def listing(t):
    name = t.id("logged")
    t.pools.post_pool(models.Pool(name=name, slots=1))
    t.pools.delete_pool(name)
    newest = plain(t.events.get_event_logs(order_by="-event_log_id", limit=50))
    ids = [e["event_log_id"] for e in newest["event_logs"]]
    equal(ids, sorted(ids, reverse=True), "order by -event_log_id")
    check(newest["total_entries"] >= len(ids), "total_entries is at least the page")
    mine = [e for e in newest["event_logs"] if name in (e["extra"] or "")]
    equal([(e["event"], e["owner"]) for e in mine], [("api.delete_pool", t.user), ("api.post_pool", t.user)], "own entries, newest first")
    age = datetime.datetime.now(UTC) - when(mine[0]["when"])
    check(abs(age) < datetime.timedelta(seconds=120), "the entry is from now, its age is %s" % age)
    equal(plain(t.events.get_event_log(mine[0]["event_log_id"])), mine[0], "the entry read by its id")
    first = plain(t.events.get_event_logs(limit=2))["event_logs"]
    second = plain(t.events.get_event_logs(limit=1, offset=1))["event_logs"]
    equal(second, first[1:], "the second page of one")
    with t.refused(400, "Bad Request", "Ordering with 'nope' is disallowed or the attribute does not exist on the model"):
        t.events.get_event_logs(order_by="nope")
    with t.refused(404, "Event Log not found"):
        t.events.get_event_log(99999999)


@step("eventLogs list: triggering a run is logged")
def triggered(t):
    posted = t.trigger("never_unpaused", "for_the_log")["dag_run_id"]
    newest = plain(t.events.get_event_logs(order_by="-when", limit=100))["event_logs"]
    mine = [e for e in newest if e["event"] == "api.post_dag_run" and posted in (e["extra"] or "")]
    equal([(e["dag_id"], e["owner"]) for e in mine], [("never_unpaused", t.user)], "entry of the trigger")


@step("eventLogs list: of one task's run", since="2.10.0")
def of_task(t):
    run = t.finished("etl_chain")["dag_run_id"]

    def ask(**filters):
        return plain(t.events.get_event_logs(dag_id="etl_chain", run_id=run, **filters))

    seen = t.wait("the entries of load", lambda: ask(task_id="load", order_by="event_log_id"), lambda s: "success" in names(s))
    states = [e for e in seen["event_logs"] if not e["event"].startswith("api.")]
    equal([e["event"] for e in states], ["running", "success"], "what became of load")
    for entry in states:
        subset(entry, {"dag_id": "etl_chain", "task_id": "load", "run_id": run, "map_index": -1, "try_number": 1, "owner": "lab"}, "entry")
    equal(names(ask(task_id="load", event="running")), ["running"], "by event")
    equal(names(ask(task_id="load", included_events="success,failed")), ["success"], "by included events")
    check("running" not in names(ask(task_id="load", excluded_events="running,x")), "excluded events are left out")
    equal(names(ask(task_id="load", try_number=1, map_index=-1, event="success")), ["success"], "by try and map index")
    equal(names(ask(task_id="load", try_number=99)), [], "of an unknown try")
    equal(names(ask(task_id="load", owner="lab", event="success")), ["success"], "by owner")
    equal(ask(task_id="load", owner="nobody")["total_entries"], 0, "of an unknown owner")
    moment = when(states[0]["when"])
    later = moment + datetime.timedelta(microseconds=1)
    equal(names(ask(task_id="load", event="running", after=moment - datetime.timedelta(seconds=1), before=later)), ["running"], "by time")
    equal(names(ask(task_id="load", event="running", after=later)), [], "after it")
    equal(names(ask(task_id="load", event="running", before=moment)), [], "before it")
