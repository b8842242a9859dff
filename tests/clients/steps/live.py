"""A run under way: what is seen of it, and what ends it."""

from airflow_client.client import models

from harness import check, equal, plain, step, subset, when

DAG = "long_sleep"


@step("live: a running run is seen, its DAG cannot be deleted, failing it stops its task")
def live(t):
    run = t.trigger(DAG, "live")["dag_run_id"]
    try:
        t.wait("sleep to run", lambda: t.ti(DAG, run, "sleep"), lambda x: x["state"] == "running")
        seen = t.ti(DAG, run, "sleep")
        subset(seen, {"state": "running", "try_number": 1, "end_date": None, "duration": None}, "the running task")
        when(seen["start_date"])
        subset(t.run(DAG, run), {"state": "running", "end_date": None}, "the run")
        equal(t.ti(DAG, run, "after")["state"], None, "state of the task after it")
        pool = plain(t.pools.get_pool("default_pool"))
        check(pool["occupied_slots"] >= 1 and pool["open_slots"] == 128 - pool["occupied_slots"], "the pool counts it: %s" % pool)
        log = plain(t.tis.get_log(DAG, run, "sleep", 1))
        check(log["continuation_token"], "the log of a running task can be continued")
        if t.version == "2.10.0":
            check(pool["running_slots"] >= 1, "the pool counts it as running: %s" % pool)
            waits = {d["name"] for d in plain(t.tis.get_task_instance_dependencies(DAG, run, "after"))["dependencies"]}
            equal(waits, {"Task Instance State", "Trigger Rule"}, "what holds the task after it")
        with t.refused(409, "Conflict", "Task instances of dag with id: '%s' are still running" % DAG):
            t.dags.delete_dag(DAG)
        answer = plain(t.runs.update_dag_run_state(DAG, run, models.UpdateDagRunState(state="failed")))
        equal(answer["state"], "failed", "state in the answer")

        def states():
            return {x["task_id"]: x["state"] for x in t.ti_list(DAG, run)["task_instances"]}

        t.wait("the task to be stopped", states, lambda s: s == {"sleep": "failed", "after": "skipped"})
        when(t.ti(DAG, run, "sleep")["end_date"])
        equal(t.run(DAG, run)["state"], "failed", "state of the run afterwards")
    finally:
        t.runs.delete_dag_run(DAG, run)
