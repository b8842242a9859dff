"""Clearing tasks and setting their states."""

from airflow_client.client import models

from harness import check, equal, plain, step, subset, when

DAG = "etl_chain"


def done(t, name):
    """A run of its own, ended."""
    run = t.trigger(DAG, name)
    equal(t.ended(DAG, run["dag_run_id"])["state"], "success", "end of the run")
    return run["dag_run_id"], when(run["execution_date"])


def named(answer):
    return sorted(x["task_id"] for x in answer["task_instances"])


def clear(t, dag_id=DAG, **fields):
    form = getattr(models, "ClearTaskInstances", None) or models.ClearTaskInstance
    return plain(t.dags.post_clear_task_instances(dag_id, form(**fields)))


def set_state(t, task_id, state, dag_id=DAG, **fields):
    """Sets a task's state; `fields` name the run by id or by date, and may widen it."""
    for flag in ("include_upstream", "include_downstream", "include_future", "include_past"):
        fields.setdefault(flag, False)
    state = models.UpdateTaskState(state) if hasattr(models, "UpdateTaskState") else state
    form = models.UpdateTaskInstancesState(task_id=task_id, new_state=state, **fields)
    return plain(t.dags.post_set_task_instances_state(dag_id, form))


def iso(date):
    return date.isoformat()


@step("clearTaskInstances by dates: dry, then real: the task runs again")
def clear_by_dates(t):
    run, date = done(t, "clear_by_dates")
    window = {"start_date": iso(date), "end_date": iso(date), "only_failed": False}
    seen = clear(t, dry_run=True, **window)
    equal(named(seen), ["extract", "load", "transform"], "what a dry clear names")
    subset(seen["task_instances"][0], {"dag_id": DAG, "dag_run_id": run}, "a reference")
    equal(when(seen["task_instances"][0]["execution_date"]), date, "execution_date of a reference")
    equal(named(clear(t, task_ids=["load"], **window)), ["load"], "without dry_run it is dry, task_ids narrow it")
    equal(named(clear(t, start_date=iso(date), end_date=iso(date))), [], "only failed ones by default")
    equal(t.run(DAG, run)["state"], "success", "state after dry clears")
    equal(named(clear(t, dry_run=False, task_ids=["load"], reset_dag_runs=True, **window)), ["load"], "what a real clear names")
    equal(t.ended(DAG, run)["state"], "success", "the second end")
    subset(t.ti(DAG, run, "load"), {"state": "success", "try_number": 2, "max_tries": 1}, "load after the second end")
    equal(t.ti(DAG, run, "transform")["try_number"], 1, "tries of transform, which was not cleared")


@step("clearTaskInstances: what is failed, and what it refuses")
def clear_failed(t):
    run = t.finished("always_fails", "failed")
    date = iso(when(run["execution_date"]))
    equal(named(clear(t, "always_fails", start_date=date, end_date=date)), ["boom", "never_runs"], "failed ones, dry")
    with t.refused(400, "Bad Request", "{'_schema': ['only_failed and only_running both are set to True']}"):
        clear(t, only_failed=True, only_running=True)
    with t.refused(400, "Bad Request", "{'_schema': ['end_date is sooner than start_date']}"):
        clear(t, start_date="2024-02-02T00:00:00Z", end_date="2024-01-02T00:00:00Z")
    with t.refused(404, "Dag id nope not found"):
        clear(t, "nope")


@step("clearTaskInstances by run: up, down, the try is kept", since="2.10.0")
def clear_by_run(t):
    run, _ = done(t, "clear_by_run")

    def dry(**fields):
        return named(clear(t, dag_run_id=run, only_failed=False, task_ids=["transform"], **fields))

    equal(dry(), ["transform"], "just the task")
    equal(dry(include_downstream=True), ["load", "transform"], "with downstream")
    equal(dry(include_upstream=True), ["extract", "transform"], "with upstream")
    equal(clear(t, dag_run_id=run, only_failed=False, task_ids=["nope"])["task_instances"], [], "an unknown task")
    fields = {"dag_run_id": run, "only_failed": False, "task_ids": ["transform"], "include_downstream": True}
    equal(named(clear(t, dry_run=False, reset_dag_runs=True, **fields)), ["load", "transform"], "what a real clear names")
    equal(t.ended(DAG, run)["state"], "success", "the second end")
    numbers = {x["task_id"]: x["try_number"] for x in t.ti_list(DAG, run)["task_instances"]}
    equal(numbers, {"extract": 1, "transform": 2, "load": 2}, "tries")
    kept = plain(t.tis.get_task_instance_tries(DAG, run, "transform"))["task_instances"]
    equal([(x["try_number"], x["state"]) for x in kept], [(1, "success"), (2, "success")], "the tries of transform")
    check("transformed" in plain(t.tis.get_log(DAG, run, "transform", 1))["content"], "the log of the first try is still there")
    with t.refused(404, "Dag Run id nope not found in dag %s" % DAG):
        clear(t, dag_run_id="nope")


@step("updateTaskInstancesState by date: dry, real, refused")
def state_by_date(t):
    run, date = done(t, "state_by_date")
    equal(named(set_state(t, "load", "failed", execution_date=iso(date), dry_run=True)), ["load"], "what a dry set names")
    equal(t.ti(DAG, run, "load")["state"], "success", "state after a dry set")
    both = set_state(t, "transform", "failed", execution_date=iso(date), include_downstream=True, dry_run=True)
    equal(named(both), ["load", "transform"], "with downstream")
    equal(
        named(set_state(t, "transform", "failed", execution_date=iso(date), include_upstream=True, dry_run=True)),
        ["extract", "transform"],
        "with upstream",
    )
    equal(named(set_state(t, "load", "failed", execution_date=iso(date), dry_run=False)), ["load"], "what a real set names")
    equal(t.ti(DAG, run, "load")["state"], "failed", "state afterwards")
    equal(named(set_state(t, "load", "success", execution_date=iso(date), dry_run=False)), ["load"], "what setting it back names")
    equal(t.ti(DAG, run, "load")["state"], "success", "state after setting it back")
    equal(named(set_state(t, "load", "success", execution_date=iso(date), dry_run=False)), [], "nothing where it is so already")
    with t.refused(404, "Task ID nope not found"):
        set_state(t, "nope", "failed", execution_date=iso(date), dry_run=False)
    with t.refused(404, "Dag ID nope not found"):
        set_state(t, "load", "failed", "nope", execution_date=iso(date), dry_run=False)
    with t.refused(404, "Not Found", "Task instance not found for task 'load' on execution_date 1999-01-01 00:00:00+00:00"):
        set_state(t, "load", "failed", execution_date="1999-01-01T00:00:00Z", dry_run=False)


@step("updateTaskInstancesState by run", since="2.10.0")
def state_by_run(t):
    run, date = done(t, "state_by_run")
    equal(named(set_state(t, "load", "failed", dag_run_id=run)), ["load"], "without dry_run it is dry")
    equal(t.ti(DAG, run, "load")["state"], "success", "state after a dry set")
    equal(named(set_state(t, "load", "skipped", dag_run_id=run, dry_run=False)), ["load"], "what a real set names")
    equal(t.ti(DAG, run, "load")["state"], "skipped", "state afterwards")
    with t.refused(404, "Not Found", "Task instance not found for task 'load' on DAG run with ID 'nope'"):
        set_state(t, "load", "failed", dag_run_id="nope", dry_run=False)
    with t.refused(400, "Bad Request", "{'_schema': ['Exactly one of execution_date or dag_run_id must be provided']}"):
        set_state(t, "load", "failed", dag_run_id=run, execution_date=iso(date))


@step("taskInstances patch: dry, real, refused", since="2.10.0")
def patch(t):
    run, _ = done(t, "patch")

    def to(state, task_id="load", run_id=run, dag_id=DAG, **fields):
        form = models.UpdateTaskInstance(new_state=models.UpdateTaskState(state), **fields)
        return plain(t.tis.patch_task_instance(dag_id, run_id, task_id, form))

    subset(to("failed"), {"dag_id": DAG, "dag_run_id": run, "task_id": "load"}, "without dry_run it is dry")
    equal(t.ti(DAG, run, "load")["state"], "success", "state after a dry patch")
    for state in ("skipped", "success"):
        to(state, dry_run=False)
        equal(t.ti(DAG, run, "load")["state"], state, "state afterwards")
    with t.refused(404, "Task not found", "Task 'nope' not found in DAG '%s'" % DAG):
        to("failed", "nope")
    with t.refused(404, "Not Found", "Task instance not found for task 'load' on DAG run with ID 'nope'"):
        to("failed", "load", "nope")
    with t.refused(404, "DAG not found", "DAG 'nope' not found"):
        to("failed", "load", "nope", "nope")
