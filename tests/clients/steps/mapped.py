"""Mapped task instances: those of a task that was expanded, and what is said of a task that was not."""

from airflow_client.client import models

from harness import check, equal, plain, step, subset, when


def indexes(answer):
    return [x["map_index"] for x in answer["task_instances"]]


def run_of(t):
    return t.finished("mapped")["dag_run_id"]


@step("mapped: all methods refuse a task that is not mapped", since="2.10.0")
def not_mapped(t):
    key = ("etl_chain", t.finished("etl_chain")["dag_run_id"], "load")
    with t.refused(404, "Task id load is not mapped"):
        t.tis.get_mapped_task_instances(*key)
    with t.refused(404, "Task id nope not found"):
        t.tis.get_mapped_task_instances(*key[:2], "nope")
    with t.refused(404, "DAG nope not found"):
        t.tis.get_mapped_task_instances("nope", "x", "y")
    with t.refused(404, "Task instance not found"):
        t.tis.get_mapped_task_instance(*key, 0)
    with t.refused(404):
        t.tis.get_mapped_task_instance_dependencies(*key, 0)
    none = plain(t.tis.get_mapped_task_instance_tries(*key, 0))
    equal((none["task_instances"], none["total_entries"]), ([], 0), "tries of an index that is not there")
    with t.refused(404, "Task instance not found"):
        t.tis.get_mapped_task_instance_try_details(*key, 0, 1)
    with t.refused(404):
        t.tis.patch_mapped_task_instance(*key, 0, update_task_instance=models.UpdateTaskInstance(new_state=models.UpdateTaskState("success")))
    with t.refused(404):
        t.tis.set_mapped_task_instance_note(*key, 0, models.SetTaskInstanceNote(note="x"))
    with t.refused(404, "TaskInstance not found"):
        t.tis.get_log(*key, 1, map_index=0)


@step("mapped list: each instance, filters, order, pages", since="2.10.0", mapping=True)
def listing(t):
    run = run_of(t)

    def ask(**filters):
        return plain(t.tis.get_mapped_task_instances("mapped", run, "each", **filters))

    seen = ask()
    equal((indexes(seen), seen["total_entries"]), ([0, 1, 2], 3), "instances of each")
    equal([x["state"] for x in seen["task_instances"]], ["success", "success", "skipped"], "their states")
    equal(indexes(ask(order_by="-map_index")), [2, 1, 0], "ordered by -map_index")
    page = ask(limit=1, offset=1)
    equal((indexes(page), page["total_entries"]), ([1], 3), "the second page of one")
    equal(indexes(ask(state=["skipped"])), [2], "by state")
    equal(indexes(ask(order_by="state"))[:1], [2], "ordered by state, skipped comes first")
    equal(indexes(ask(pool=["nope"])), [], "by an unknown pool")
    equal(indexes(ask(queue=["default"], duration_gte=0.0, duration_lte=1e6)), [0, 1, 2], "by queue and duration")
    first = seen["task_instances"][0]
    date = when(first["execution_date"])
    equal(indexes(ask(execution_date_gte=date, execution_date_lte=date)), [0, 1, 2], "by logical date")
    check(0 in indexes(ask(start_date_gte=when(first["start_date"]), end_date_lte=when(first["end_date"]))), "by its times")
    with t.refused(400, "Bad Request", "Ordering with 'nope' is not supported"):
        ask(order_by="nope")


@step("mapped get: one by its index, its tries, dependencies, log and XCom", since="2.10.0", mapping=True)
def get(t):
    run = run_of(t)
    key = ("mapped", run, "each", 1)
    subset(plain(t.tis.get_mapped_task_instance(*key)), {"task_id": "each", "map_index": 1, "state": "success", "try_number": 1}, "each[1]")
    with t.refused(404, "Task instance not found"):
        t.tis.get_mapped_task_instance("mapped", run, "each", 99)
    with t.refused(404, "Task instance not found"):
        t.tis.get_task_instance("mapped", run, "each")
    equal(plain(t.tis.get_mapped_task_instance_dependencies(*key)), {"dependencies": []}, "dependencies of each[1]")
    tries = plain(t.tis.get_mapped_task_instance_tries(*key, limit=10, offset=0))
    equal([(x["try_number"], x["map_index"], x["state"]) for x in tries["task_instances"]], [(1, 1, "success")], "tries of each[1]")
    equal(plain(t.tis.get_mapped_task_instance_try_details(*key, 1)), tries["task_instances"][0], "its first try")
    check("Output" in plain(t.tis.get_log("mapped", run, "each", 1, map_index=1))["content"], "the log of each[1]")
    with t.refused(404, "TaskInstance not found"):
        t.tis.get_log("mapped", run, "each", 1)
    equal(plain(t.xcoms.get_xcom_entry("mapped", run, "each", "return_value", map_index=1))["value"], "b", "XCom of each[1]")
    xcoms = plain(t.xcoms.get_xcom_entries("mapped", run, "each", map_index=0))["xcom_entries"]
    equal([(x["key"], x["map_index"]) for x in xcoms], [("return_value", 0)], "XComs of each[0]")


@step("mapped note and patch: one by its index", since="2.10.0", mapping=True)
def change(t):
    run = t.trigger("mapped", "mapped_change")["dag_run_id"]
    equal(t.ended("mapped", run)["state"], "success", "end of the run")
    key = ("mapped", run, "each", 0)
    subset(plain(t.tis.set_mapped_task_instance_note(*key, models.SetTaskInstanceNote(note="of one"))), {"note": "of one", "map_index": 0}, "answer")
    equal(plain(t.tis.get_mapped_task_instance("mapped", run, "each", 1))["note"], None, "note of the other")
    form = models.UpdateTaskInstance(new_state=models.UpdateTaskState("skipped"), dry_run=False)
    t.tis.patch_mapped_task_instance(*key, update_task_instance=form)
    states = [x["state"] for x in plain(t.tis.get_mapped_task_instances("mapped", run, "each"))["task_instances"]]
    equal(states, ["skipped", "success", "skipped"], "states afterwards")
