"""Task instances: read, list, tries, dependencies, links, logs, notes."""

import datetime

from airflow_client.client import models

from harness import check, equal, plain, step, subset, when

SECOND = datetime.timedelta(seconds=1)


def states(answer):
    return {x["task_id"]: x["state"] for x in answer["task_instances"]}


@step("taskInstances list: what became of each task")
def listing(t):
    run = t.finished("etl_chain")
    seen = t.ti_list("etl_chain", run["dag_run_id"])
    equal(states(seen), dict.fromkeys(("extract", "transform", "load"), "success"), "states of etl_chain")
    equal(seen["total_entries"], 3, "total_entries")
    by_task = {x["task_id"]: x for x in seen["task_instances"]}
    for instance in by_task.values():
        subset(instance, {"dag_id": "etl_chain", "try_number": 1, "max_tries": 0, "operator": "BashOperator", "pool": "default_pool"}, "instance")
        subset(instance, {"pool_slots": 1, "queue": "default"}, "instance")
        equal(when(instance["execution_date"]), when(run["execution_date"]), "execution_date")
        check(when(instance["queued_when"]) <= when(instance["start_date"]) <= when(instance["end_date"]), "it was queued, began, ended")
        lasted = (when(instance["end_date"]) - when(instance["start_date"])).total_seconds()
        check(abs(instance["duration"] - lasted) < 0.01, "duration %s is %s" % (instance["duration"], lasted))
    equal([by_task[x]["priority_weight"] for x in ("extract", "transform", "load")], [3, 2, 1], "priority weights")
    check(when(by_task["extract"]["end_date"]) <= when(by_task["transform"]["start_date"]), "transform began after extract")


@step("taskInstances list: states of failure, skip and branch")
def outcomes(t):
    run = t.finished("always_fails", "failed")["dag_run_id"]
    equal(states(t.ti_list("always_fails", run)), {"boom": "failed", "never_runs": "upstream_failed"}, "states of always_fails")
    run = t.finished("branching")["dag_run_id"]
    expected = {"choose": "success", "left": "success", "right": "skipped", "after_right": "skipped", "join": "success"}
    equal(states(t.ti_list("branching", run)), expected, "states of branching")
    run = t.started("never_unpaused")["dag_run_id"]
    equal(states(t.ti_list("never_unpaused", run)), {"a": None, "b": None}, "states of a run that has not begun")


@step("taskInstances list: filters and pages")
def filters(t):
    run = t.finished("always_fails", "failed")
    name, date = run["dag_run_id"], when(run["execution_date"])

    def found(dag_run_id=name, **filters):
        return sorted(states(t.ti_list("always_fails", dag_run_id, **filters)))

    both = ["boom", "never_runs"]
    equal(found(state=["failed"]), ["boom"], "by state")
    equal(found(state=["failed", "upstream_failed"]), both, "by two states")
    equal(found(state=["success"]), [], "by a state that none has")
    equal(found(pool=["default_pool"]), both, "by pool")
    equal(found(pool=["nope"]), [], "by an unknown pool")
    equal(found(queue=["default"]), both, "by queue")
    equal(found(queue=["nope"]), [], "by an unknown queue")
    equal(found(duration_gte=0.0), both, "by duration from 0")
    equal(found(duration_gte=1e6), [], "by duration from 1e6")
    equal(found(duration_lte=1e6), both, "by duration to 1e6")
    boom = t.ti("always_fails", name, "boom")
    start, end = when(boom["start_date"]), when(boom["end_date"])
    check("boom" in found(start_date_gte=start, start_date_lte=start), "by its very start")
    check("boom" not in found(start_date_gte=start + SECOND), "by a later start")
    check("boom" in found(end_date_gte=end, end_date_lte=end), "by its very end")
    check("boom" not in found(end_date_lte=end - SECOND), "by an earlier end")
    equal(found("~", execution_date_gte=date, execution_date_lte=date), both, "by logical date in any run")
    equal(found("~", execution_date_gte=date + SECOND / 2, execution_date_lte=date + SECOND / 2), [], "by another logical date")
    page = t.ti_list("always_fails", name, limit=1, offset=1)
    equal((len(page["task_instances"]), page["total_entries"]), (1, 2), "the second page of one")
    none = t.ti_list("always_fails", "nope")
    equal((none["task_instances"], none["total_entries"]), ([], 0), "instances of an unknown run")


@step("taskInstances list: updated_at, executor", since="2.10.0")
def filters_newer(t):
    run = t.finished("etl_chain")["dag_run_id"]
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    equal(len(t.ti_list("etl_chain", run, updated_at_gte=long_ago)["task_instances"]), 3, "changed since long ago")
    equal(len(t.ti_list("etl_chain", run, updated_at_lte=long_ago)["task_instances"]), 0, "changed until long ago")
    equal(len(t.ti_list("etl_chain", run, executor=["nope"])["task_instances"]), 0, "of another executor")


@step("taskInstances get: one, one that never ran, unknown ones")
def get(t):
    run = t.finished("etl_chain")["dag_run_id"]
    seen = t.ti("etl_chain", run, "transform")
    subset(seen, {"dag_id": "etl_chain", "task_id": "transform", "state": "success", "try_number": 1, "priority_weight": 2}, "transform")
    check(seen["pid"] is None or seen["pid"] > 0, "pid")
    failed = t.finished("always_fails", "failed")["dag_run_id"]
    never = t.ti("always_fails", failed, "never_runs")
    subset(never, {"state": "upstream_failed", "try_number": 0, "duration": 0, "pid": None, "queued_when": None}, "never_runs")
    for key in (("etl_chain", run, "nope"), ("etl_chain", "nope", "load"), ("nope", "nope", "load")):
        with t.refused(404, "Task instance not found"):
            t.tis.get_task_instance(*key)


@step("taskInstances get: rendered fields, and members that came after 2.2", since="2.10.0")
def get_newer(t):
    run = t.finished("etl_chain")
    seen = t.ti("etl_chain", run["dag_run_id"], "transform")
    day = when(run["logical_date"]).astimezone(datetime.timezone.utc).date().isoformat()
    subset(
        seen,
        {
            "dag_run_id": run["dag_run_id"], "map_index": -1, "note": None, "rendered_map_index": None, "trigger": None, "triggerer_job": None,
            "task_display_name": "transform", "executor": None, "sla_miss": None,
            "rendered_fields": {"bash_command": "echo transformed for " + day, "cwd": None, "env": None},
        },
        "transform",
    )  # fmt: skip


@step("taskInstances batch: DAGs, dates, states")
def batch(t):
    run = t.finished("always_fails", "failed")
    date = when(run["execution_date"])
    window = {"execution_date_gte": date, "execution_date_lte": date}

    def found(**form):
        answer = t.lenient(t.tis.get_task_instances_batch, models.ListTaskInstanceForm(**form))
        check(answer["total_entries"] >= len(answer["task_instances"]), "total_entries is at least the page")
        return states(answer)

    both = {"boom": "failed", "never_runs": "upstream_failed"}
    equal(found(dag_ids=["always_fails"], **window), both, "of a DAG at a date")
    equal(found(dag_ids=["etl_chain"], **window), {}, "of another DAG at that date")
    wanted = [models.TaskState("failed")] if t.version == "2.10.0" else ["failed"]
    equal(found(dag_ids=["always_fails"], state=wanted, **window), {"boom": "failed"}, "by state")
    equal(found(dag_ids=["always_fails"], pool=["nope"], **window), {}, "by an unknown pool")
    equal(found(dag_ids=["always_fails"], queue=["default"], duration_gte=0.0, duration_lte=1e6, **window), both, "by queue and duration")
    equal(found(dag_ids=["always_fails"], start_date_gte=when(run["start_date"]), end_date_lte=when(run["end_date"]), **window), both, "by times")


@step("taskInstances batch: runs and tasks", since="2.10.0")
def batch_newer(t):
    run = t.finished("etl_chain")["dag_run_id"]

    def found(**form):
        return sorted(states(t.lenient(t.tis.get_task_instances_batch, models.ListTaskInstanceForm(**form))))

    equal(found(dag_run_ids=[run]), ["extract", "load", "transform"], "by run")
    equal(found(dag_run_ids=[run], task_ids=["load", "extract"]), ["extract", "load"], "by task")
    equal(found(dag_ids=["etl_chain"], dag_run_ids=["nope"]), [], "by an unknown run")


@step("taskInstances tries: each try kept", since="2.10.0")
def tries(t):
    run = t.finished("retries")["dag_run_id"]
    subset(t.ti("retries", run, "flaky"), {"state": "success", "try_number": 3, "max_tries": 3}, "flaky")
    key = ("retries", run, "flaky")
    seen = plain(t.tis.get_task_instance_tries(*key))
    rows = [(x["try_number"], x["state"]) for x in seen["task_instances"]]
    equal((rows, seen["total_entries"]), ([(1, "failed"), (2, "failed"), (3, "success")], 3), "tries of flaky")
    for earlier, later in zip(seen["task_instances"], seen["task_instances"][1:]):
        check(when(earlier["end_date"]) <= when(later["start_date"]), "each try began after the one before")
    page = plain(t.tis.get_task_instance_tries(*key, limit=1, offset=1))
    equal(page["total_entries"], 3, "total_entries of a page")
    first = plain(t.tis.get_task_instance_try_details(*key, 1))
    equal(first, seen["task_instances"][0], "the first try")
    equal(plain(t.tis.get_task_instance_try_details(*key, 3))["state"], "success", "state of the last try")
    with t.refused(404, "Task instance not found"):
        t.tis.get_task_instance_try_details(*key, 99)
    none = plain(t.tis.get_task_instance_tries("retries", run, "nope"))
    equal((none["task_instances"], none["total_entries"]), ([], 0), "tries of an unknown task")


@step("taskInstances retries: a task that fails twice succeeds on the third try")
def retries(t):
    run = t.finished("retries")["dag_run_id"]
    subset(t.ti("retries", run, "flaky"), {"state": "success", "try_number": 3, "max_tries": 3}, "flaky")
    for number in (1, 2, 3):
        content = plain(t.tis.get_log("retries", run, "flaky", number))["content"]
        check("try %d" % number in content, "the log of try %d is its own" % number)
    check("try 3" not in plain(t.tis.get_log("retries", run, "flaky", 1))["content"], "the log of try 1 has nothing of try 3")


@step("taskInstances dependencies: why a task waits", since="2.10.0")
def dependencies(t):
    done = plain(t.tis.get_task_instance_dependencies("etl_chain", t.finished("etl_chain")["dag_run_id"], "load"))
    equal(done, {"dependencies": []}, "dependencies of a finished task")
    run = t.started("never_unpaused")["dag_run_id"]
    waits = {d["name"]: d["reason"] for d in plain(t.tis.get_task_instance_dependencies("never_unpaused", run, "b"))["dependencies"]}
    equal(sorted(waits), ["Dag Not Paused", "Dagrun Running", "Task Instance State", "Trigger Rule"], "what holds b")
    equal(waits["Dag Not Paused"], "Task's DAG 'never_unpaused' is paused.", "reason")
    with t.refused(404, "Task Instance not found for dag_id=never_unpaused, run_id=%s, task_id=nope" % run):
        t.tis.get_task_instance_dependencies("never_unpaused", run, "nope")


@step("taskInstances links: none, and an unknown task")
def links(t):
    run = t.finished("etl_chain")["dag_run_id"]
    seen = plain(t.tis.get_extra_links("etl_chain", run, "load"))
    check(not seen, "load has no links: %s" % seen)
    with t.refused(404, "Task not found", 'Task with ID = "nope" not found'):
        t.tis.get_extra_links("etl_chain", run, "nope")


@step("taskInstances logs: content, continuation, failures")
def logs(t):
    run = t.finished("etl_chain")["dag_run_id"]
    key = ("etl_chain", run, "load", 1)

    def settled():
        first = plain(t.tis.get_log(*key))
        return first, plain(t.tis.get_log(*key, token=first["continuation_token"]))

    _, rest = t.wait("an end of the log", settled, lambda both: "loaded" in both[0]["content"] and "INFO" not in both[1]["content"])
    check("loaded" not in rest["content"], "the continuation has nothing of what was shown: %r" % rest["content"])
    check(rest["continuation_token"], "the end has a token too")
    whole = plain(t.tis.get_log(*key, full_content=True))
    check("loaded" in whole["content"], "full_content has the line that the task wrote")
    failed = t.finished("always_fails", "failed")["dag_run_id"]
    log = plain(t.tis.get_log("always_fails", failed, "boom", 1))["content"]
    check("return code 1" in log or "exit code 1" in log, "the log of boom says how it ended: %s" % log[-300:])
    with t.refused(400, "Bad Signature. Please use only the tokens provided by the API."):
        t.tis.get_log(*key, token="bad")
    with t.refused(404, "TaskInstance not found"):
        t.tis.get_log("etl_chain", run, "nope", 1)
    with t.refused(404, "TaskInstance not found"):
        t.tis.get_log("etl_chain", "nope", "load", 1)
    check(plain(t.tis.get_log("etl_chain", run, "load", 99))["content"], "a try that never was has a text that says so")


@step("taskInstances params: conf over defaults, in the log")
def params(t):
    run = t.trigger("params", "own_params", conf={"who": "client", "count": 7})["dag_run_id"]
    equal(t.ended("params", run)["state"], "success", "end of the run")
    content = plain(t.tis.get_log("params", run, "greet", 1, full_content=True))["content"]
    check("hello client x7 fast" in content, "greet used the conf")


@step("taskInstances note: set, replace, refuse", since="2.10.0")
def note(t):
    run = t.started("never_unpaused")["dag_run_id"]
    for text in ("a task note", "another ✓", ""):
        answer = plain(t.tis.set_task_instance_note("never_unpaused", run, "a", models.SetTaskInstanceNote(note=text)))
        subset(answer, {"task_id": "a", "note": text}, "answer")
        equal(t.ti("never_unpaused", run, "a")["note"], text, "note afterwards")
    with t.refused(400, "Bad Request", "{'note': ['Longer than maximum length 1000.']}"):
        t.tis.set_task_instance_note("never_unpaused", run, "a", models.SetTaskInstanceNote(note="x" * 1001))
    with t.refused(404, "Task Instance not found for dag_id=never_unpaused, run_id=%s, task_id=nope" % run):
        t.tis.set_task_instance_note("never_unpaused", run, "nope", models.SetTaskInstanceNote(note="x"))
