"""DAG runs: create, read, list, change, delete. Most use a paused DAG, whose runs stay as they are."""

import datetime

from airflow_client.client import models

from harness import check, equal, plain, step, subset, when

DAG = "never_unpaused"
SECOND = datetime.timedelta(seconds=1)


def ids(answer):
    return [r["dag_run_id"] for r in answer["dag_runs"]]


def three(t):
    """Three runs, each a second after the other, and the window of dates that holds just them."""
    if not hasattr(t, "three_runs"):
        t.three_runs = [t.trigger(DAG, "three_%d" % n, conf={"n": n}) for n in (1, 2, 3)]
    dates = [when(r["execution_date"]) for r in t.three_runs]
    return [r["dag_run_id"] for r in t.three_runs], {"execution_date_gte": dates[0], "execution_date_lte": dates[-1]}


@step("dagRuns post: what was sent comes back, queued")
def post(t):
    date = t.date()
    conf = {"text": "ü ✓", "number": 1.5, "list": [1, None, {"deep": True}]}
    seen = t.trigger(DAG, "posted", logical_date=date, conf=conf)
    subset(
        seen,
        {
            "dag_id": DAG, "dag_run_id": t.id("posted"), "state": "queued", "conf": conf, "external_trigger": True, "start_date": None,
            "end_date": None, "execution_date": date, "logical_date": date,
        },
        "the new run",
    )  # fmt: skip
    equal(t.run(DAG, t.id("posted")), seen, "the run read again")


@step("dagRuns post: ids and dates are made where none are sent")
def post_bare(t):
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=5)
    seen = plain(t.runs.post_dag_run(DAG, models.DAGRun()))
    date = when(seen["execution_date"])
    check(before < date < before + datetime.timedelta(seconds=120), "its logical date %s is now" % date)
    made = "manual__" + date.astimezone(datetime.timezone.utc).isoformat()
    equal(seen["dag_run_id"], made, "the id that was made")
    equal(seen["conf"], {}, "conf where none is sent")
    equal(t.run(DAG, made)["dag_run_id"], made, "the run read again by an id with + and :")
    t.runs.delete_dag_run(DAG, made)


@step("dagRuns post: note, data interval and run type", since="2.10.0")
def post_newer(t):
    date = t.date()
    interval = {"data_interval_start": date - 60 * SECOND, "data_interval_end": date}
    seen = t.trigger(DAG, "noted", logical_date=date, note="from the client", **interval)
    subset(seen, {"note": "from the client", "run_type": "manual", "last_scheduling_decision": None, **interval}, "the run with a note")
    bare = t.trigger(DAG, "no_interval", logical_date=t.date())
    equal(bare["note"], None, "note where none is sent")
    equal((bare["data_interval_start"], bare["data_interval_end"]), (bare["logical_date"],) * 2, "interval where none is sent")
    with t.refused(400, "Bad Request"):
        t.trigger(DAG, "half", data_interval_start=date)
    with t.refused(400, "Bad Request", "{'note': ['Longer than maximum length 1000.']}"):
        t.trigger(DAG, "long_note", note="x" * 1001)


@step("dagRuns post: duplicates, unknown DAG, reserved id, bad params are refused")
def post_refused(t):
    first = t.trigger(DAG, "first")
    with t.refused(409, "Conflict", "DAGRun with DAG ID: '%s' and DAGRun ID: '%s' already exists" % (DAG, t.id("first"))):
        t.trigger(DAG, "first")
    with t.refused(409, "Conflict"):
        t.trigger(DAG, "other_name", logical_date=first["logical_date"])
    with t.refused(404, "DAG not found", "DAG with dag_id: 'nope' not found"):
        t.trigger("nope")
    with t.refused(400, "Bad Request"):
        t.runs.post_dag_run(DAG, models.DAGRun(dag_run_id="scheduled__2024-03-12T00:00:00+00:00"))
    with t.refused(400, "Bad Request"):
        t.trigger("params", "bad_params", conf={"count": 99})


@step("dagRuns get: a finished run, and unknown ones")
def get(t):
    run = t.finished("etl_chain")
    subset(run, {"dag_id": "etl_chain", "state": "success", "conf": {"from": t.tag}, "external_trigger": True}, "the finished run")
    check(when(run["start_date"]) <= when(run["end_date"]), "it started before it ended")
    equal(t.finished("always_fails", "failed")["state"], "failed", "state of the failed run")
    with t.refused(404, "DAGRun not found", "DAGRun with DAG ID: '%s' and DagRun ID: 'nope' not found" % DAG):
        t.runs.get_dag_run(DAG, "nope")


@step("dagRuns get: fields", since="2.10.0")
def get_fields(t):
    run = t.started(DAG)["dag_run_id"]
    equal(plain(t.runs.get_dag_run(DAG, run, fields=["dag_run_id", "state"])), {"dag_run_id": run, "state": "queued"}, "two fields")


@step("dagRuns list: window of dates, order, pages")
def listing(t):
    names, window = three(t)
    seen = plain(t.runs.get_dag_runs(DAG, **window))
    equal((ids(seen), seen["total_entries"]), (names, 3), "the runs of the window")
    equal(ids(plain(t.runs.get_dag_runs(DAG, order_by="-execution_date", **window))), names[::-1], "newest first")
    equal(ids(plain(t.runs.get_dag_runs(DAG, order_by="execution_date", **window))), names, "oldest first")
    page = plain(t.runs.get_dag_runs(DAG, limit=1, offset=1, **window))
    equal((ids(page), page["total_entries"]), (names[1:2], 3), "the second page of one")
    anywhere = plain(t.runs.get_dag_runs("~", order_by="dag_run_id", **window))
    check(set(names) <= set(ids(anywhere)), "~ finds them too")
    none = plain(t.runs.get_dag_runs("nope"))
    equal((ids(none), none["total_entries"]), ([], 0), "runs of an unknown DAG")
    with t.refused(400, "Bad Request", "Ordering with 'nope' is disallowed or the attribute does not exist on the model"):
        t.runs.get_dag_runs(DAG, order_by="nope")


@step("dagRuns list: start and end dates")
def listing_times(t):
    run = t.finished("etl_chain")
    name, start, end = run["dag_run_id"], when(run["start_date"]), when(run["end_date"])

    def found(**filters):
        return name in ids(plain(t.runs.get_dag_runs("etl_chain", order_by="-start_date", limit=100, **filters)))

    check(found(start_date_gte=start, start_date_lte=start, end_date_gte=end, end_date_lte=end), "found by its very times")
    check(not found(start_date_gte=start + SECOND), "not found after its start")
    check(not found(start_date_lte=start - SECOND), "not found before its start")
    check(not found(end_date_gte=end + SECOND), "not found after its end")
    check(not found(end_date_lte=end - SECOND), "not found before its end")


@step("dagRuns list: state, updated_at, fields", since="2.10.0")
def listing_newer(t):
    names, window = three(t)
    equal(ids(plain(t.runs.get_dag_runs(DAG, state=["queued", "running"], **window))), names, "queued or running")
    equal(ids(plain(t.runs.get_dag_runs(DAG, state=["success"], **window))), [], "successful ones of a paused DAG")
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    equal(ids(plain(t.runs.get_dag_runs(DAG, updated_at_gte=long_ago, **window))), names, "changed since long ago")
    equal(ids(plain(t.runs.get_dag_runs(DAG, updated_at_lte=long_ago, **window))), [], "changed until long ago")
    seen = plain(t.runs.get_dag_runs(DAG, fields=["dag_run_id", "state"], limit=1, **window))
    equal(seen["dag_runs"], [{"dag_run_id": names[0], "state": "queued"}], "two fields of the first")


@step("dagRuns batch: DAGs, window, order, pages")
def batch(t):
    names, window = three(t)

    def ask(**form):
        return plain(t.runs.get_dag_runs_batch(models.ListDagRunsForm(**form)))

    seen = ask(dag_ids=[DAG], **window)
    equal((ids(seen), seen["total_entries"]), (names, 3), "the runs of the window")
    equal(ids(ask(dag_ids=[DAG, "etl_chain"], order_by="-execution_date", page_limit=2, page_offset=0, **window)), names[:0:-1], "newest two")
    equal(ids(ask(dag_ids=[DAG], page_limit=1, page_offset=2, **window)), names[2:], "the third page of one")
    equal(ids(ask(dag_ids=["nope"])), [], "runs of an unknown DAG")
    run = t.finished("etl_chain")
    times = {"start_date_gte": when(run["start_date"]), "end_date_lte": when(run["end_date"])}
    check(run["dag_run_id"] in ids(ask(dag_ids=["etl_chain"], **times)), "found by its times")
    check(run["dag_run_id"] not in ids(ask(dag_ids=["etl_chain"], start_date_gte=when(run["end_date"]) + SECOND)), "not found after its end")
    with t.refused(400, "Bad Request"):
        ask(order_by="nope")


@step("dagRuns batch: states", since="2.10.0")
def batch_states(t):
    names, window = three(t)

    def ask(states):
        return ids(plain(t.runs.get_dag_runs_batch(models.ListDagRunsForm(dag_ids=[DAG], states=states, **window))))

    equal(ask(["queued"]), names, "queued ones")
    equal(ask(["failed", "success"]), [], "ended ones")


@step("dagRuns patch: failed, success, unknown")
def patch(t):
    run = t.trigger(DAG, "patched")["dag_run_id"]

    def to(state):
        answer = plain(t.runs.update_dag_run_state(DAG, run, models.UpdateDagRunState(state=state)))
        subset(answer, {"dag_run_id": run, "state": state}, "answer to %s" % state)
        subset(t.run(DAG, run), {"state": state}, "the run afterwards")
        return t.ti_list(DAG, run)["task_instances"], answer

    tasks, answer = to("failed")
    when(answer["end_date"])
    equal({x["task_id"]: x["state"] for x in tasks}, {"a": "skipped", "b": "skipped"}, "tasks of a run failed before it began")
    tasks, _ = to("success")
    equal({x["task_id"]: x["state"] for x in tasks}, {"a": "success", "b": "success"}, "tasks of a run set to success")
    with t.refused(404, "Dag Run id nope not found in dag %s" % DAG):
        t.runs.update_dag_run_state(DAG, "nope", models.UpdateDagRunState(state="failed"))


@step("dagRuns patch: queued again, its tasks as they are", since="2.10.0")
def patch_queued(t):
    run = t.trigger(DAG, "requeued")["dag_run_id"]
    t.runs.update_dag_run_state(DAG, run, models.UpdateDagRunState(state="failed"))
    seen = plain(t.runs.update_dag_run_state(DAG, run, models.UpdateDagRunState(state="queued")))
    subset(seen, {"state": "queued", "start_date": None, "end_date": None}, "the run queued again")
    states = {x["task_id"]: x["state"] for x in t.ti_list(DAG, run)["task_instances"]}
    equal(states, {"a": "skipped", "b": "skipped"}, "its tasks")


@step("dagRuns clear: dry and real", since="2.10.0")
def clear(t):
    run = t.trigger(DAG, "cleared")["dag_run_id"]
    t.runs.update_dag_run_state(DAG, run, models.UpdateDagRunState(state="success"))
    dry = plain(t.runs.clear_dag_run(DAG, run, models.ClearDagRun(dry_run=True)))
    equal(sorted(x["task_id"] for x in dry["task_instances"]), ["a", "b"], "what a dry clear names")
    equal(t.run(DAG, run)["state"], "success", "state after a dry clear")
    default = plain(t.runs.clear_dag_run(DAG, run, models.ClearDagRun()))
    equal(len(default["task_instances"]), 2, "without dry_run it is dry")
    seen = plain(t.runs.clear_dag_run(DAG, run, models.ClearDagRun(dry_run=False)))
    subset(seen, {"dag_run_id": run, "state": "queued", "end_date": None}, "answer to the clear")
    with t.refused(404, "Dag Run id nope not found in dag   %s" % DAG):
        t.runs.clear_dag_run(DAG, "nope", models.ClearDagRun(dry_run=False))


@step("dagRuns clear: a finished run runs again", since="2.10.0")
def clear_runs_again(t):
    run = t.trigger("etl_chain", "runs_again")["dag_run_id"]
    equal(t.ended("etl_chain", run)["state"], "success", "the first end")
    t.runs.clear_dag_run("etl_chain", run, models.ClearDagRun(dry_run=False))
    equal(t.ended("etl_chain", run)["state"], "success", "the second end")
    tries = [x["try_number"] for x in t.ti_list("etl_chain", run)["task_instances"]]
    equal(tries, [2, 2, 2], "tries after the second end")


@step("dagRuns note: set, replace, refuse", since="2.10.0")
def note(t):
    run = t.trigger(DAG, "with_note")["dag_run_id"]
    for text in ("hello", "bye ✓", ""):
        equal(plain(t.runs.set_dag_run_note(DAG, run, models.SetDagRunNote(note=text)))["note"], text, "note in the answer")
        equal(t.run(DAG, run)["note"], text, "note afterwards")
    with t.refused(400, "Bad Request", "{'note': ['Longer than maximum length 1000.']}"):
        t.runs.set_dag_run_note(DAG, run, models.SetDagRunNote(note="x" * 1001))
    with t.refused(404, "Dag Run id nope not found in dag %s" % DAG):
        t.runs.set_dag_run_note(DAG, "nope", models.SetDagRunNote(note="x"))


@step("dagRuns upstream dataset events: none of a manual run", since="2.10.0")
def upstream_events(t):
    seen = plain(t.runs.get_upstream_dataset_events(DAG, t.started(DAG)["dag_run_id"]))
    equal(seen, {"dataset_events": [], "total_entries": 0}, "upstream events")
    with t.refused(404):
        t.runs.get_upstream_dataset_events(DAG, "nope")


@step("dagRuns delete: gone, then unknown")
def delete(t):
    run = t.trigger(DAG, "deleted")["dag_run_id"]
    equal(t.runs.delete_dag_run(DAG, run), None, "answer to the delete")
    with t.refused(404, "DAGRun not found"):
        t.runs.get_dag_run(DAG, run)
    equal(t.ti_list(DAG, run)["task_instances"], [], "task instances of the deleted run")
    with t.refused(404, "Not Found", "DAGRun with DAG ID: '%s' and DagRun ID: '%s' not found" % (DAG, run)):
        t.runs.delete_dag_run(DAG, run)
