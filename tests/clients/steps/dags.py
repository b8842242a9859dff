"""DAGs, their source and their tasks."""

import datetime
import posixpath

from airflow_client.client import models

from harness import UTC, check, equal, plain, step, subset, when

# Of tests/data/airflow-dags; the ones that a step deletes are not here.
ACTIVE = {
    "always_fails", "bash_skip", "branching", "cron_catchup", "dagrun_timeout", "dataset_consumer", "dataset_producer",
    "diamond_trigger_rules", "etl_chain", "fanout_100", "grouped", "leaf_success_hides_failure", "long_sleep", "mapped",
    "never_unpaused", "nonexistent_pool", "one_active_run", "params", "past_dependent", "pools_priority", "retries",
    "retries_backoff", "sched_continuous", "sched_minutely", "sched_relativedelta", "sched_timedelta", "short_circuit", "tagged",
    "timeouts", "trigger_rule_matrix", "two_active_tasks", "xcom",
}  # fmt: skip


def ids(answer):
    return [d["dag_id"] for d in answer["dags"]]


def listed(t, **filters):
    return t.lenient(t.dags.get_dags, **filters)


@step("dags list: all of the folder, by id, with the exact total")
def list_all(t):
    seen = listed(t, limit=100)
    check(ACTIVE <= set(ids(seen)), "listed are all DAGs, missing: %s" % sorted(ACTIVE - set(ids(seen))))
    equal(ids(seen), sorted(ids(seen)), "order of the list")
    equal(seen["total_entries"], len(seen["dags"]), "total_entries")


@step("dags list: pages")
def list_pages(t):
    whole = listed(t, limit=100)
    page = listed(t, limit=2, offset=3)
    equal(ids(page), ids(whole)[3:5], "the page of 2 after 3")
    equal(page["total_entries"], whole["total_entries"], "total_entries of a page")
    past = listed(t, limit=5, offset=100_000)
    equal(ids(past), [], "the page after the end")
    equal(past["total_entries"], whole["total_entries"], "total_entries after the end")


@step("dags list: order_by, both ways, and what it refuses")
def list_order(t):
    there = ids(listed(t, limit=100, order_by="dag_id"))
    back = ids(listed(t, limit=100, order_by="-dag_id"))
    equal(back, there[::-1], "the reversed list")
    with t.refused(400, "Bad Request", "Ordering with 'nope' is disallowed or the attribute does not exist on the model"):
        t.dags.get_dags(order_by="nope")


@step("dags list: tags, one and either of two")
def list_tags(t):
    equal(ids(listed(t, tags=["etl"])), ["etl_chain"], "DAGs tagged etl")
    equal(ids(listed(t, tags=["etl", "branch"])), ["bash_skip", "branching", "etl_chain", "short_circuit"], "DAGs tagged etl or branch")
    none = listed(t, tags=["no such tag"])
    equal((ids(none), none["total_entries"]), ([], 0), "DAGs with an unknown tag")


@step("dags list: only_active")
def list_only_active(t):
    active = listed(t, limit=100, only_active=True)
    every = listed(t, limit=100, only_active=False)
    check(set(ids(active)) <= set(ids(every)), "without only_active the list has all active ones")
    check(all(d["is_active"] for d in active["dags"]), "with only_active all are active")


@step("dags list: paused, dag_id_pattern, fields", since="2.10.0")
def list_filters(t):
    paused = listed(t, limit=100, paused=True, fields=["dag_id", "is_paused"])
    check({"never_unpaused", "cron_catchup"} <= set(ids(paused)), "paused DAGs are listed")
    check(all(d == {"dag_id": d["dag_id"], "is_paused": True} for d in paused["dags"]), "only the asked fields, all paused")
    awake = ids(listed(t, limit=100, paused=False, fields=["dag_id"]))
    check("etl_chain" in awake and "never_unpaused" not in awake, "paused=false leaves the paused out")
    pattern = ids(listed(t, dag_id_pattern="RETR"))
    equal(pattern, ["retries", "retries_backoff"], "dag_id_pattern, whatever the case")
    both = listed(t, dag_id_pattern="etl", tags=["branch"])
    equal((ids(both), both["total_entries"]), ([], 0), "filters narrow each other")
    with t.refused(400):
        t.dags.get_dags(fields=["no_such_field"])


@step("dags get: what was written in the file")
def get(t):
    seen = plain(t.dags.get_dag("etl_chain"))
    subset(
        seen,
        {
            "dag_id": "etl_chain", "description": "extract >> transform >> load, BashOperator", "is_active": True, "is_paused": False,
            "is_subdag": False, "root_dag_id": None, "owners": ["lab"], "schedule_interval": None,
        },
        "etl_chain",
    )  # fmt: skip
    check({"etl", "example"} <= {x["name"] for x in seen["tags"]}, "the tags are there: %s" % seen["tags"])
    equal(posixpath.splitext(posixpath.basename(seen["fileloc"]))[0], "etl_chain", "name of its file")
    check(seen["file_token"], "it has a file_token")
    cron = plain(t.dags.get_dag("cron_catchup"))
    subset(cron["schedule_interval"], {"type": "CronExpression", "value": "0 */6 * * *"}, "schedule of cron_catchup")
    with t.refused(404, "DAG not found", "The DAG with dag_id: nope was not found"):
        t.dags.get_dag("nope")


@step("dags get: members that came after 2.2, and fields", since="2.10.0")
def get_newer(t):
    seen = plain(t.dags.get_dag("etl_chain"))
    subset(
        seen,
        {
            "dag_display_name": "etl_chain", "default_view": "grid", "has_import_errors": False, "has_task_concurrency_limits": False,
            "max_active_runs": 16, "max_active_tasks": 16, "max_consecutive_failed_dag_runs": 0, "next_dagrun": None,
            "timetable_description": "Never, external triggers only", "pickle_id": None,
        },
        "etl_chain",
    )  # fmt: skip
    when(seen["last_parsed_time"])
    equal(plain(t.dags.get_dag("tagged"))["dag_display_name"], "Tagged DAG ✓", "display name of tagged")
    equal(plain(t.dags.get_dag("one_active_run"))["max_active_runs"], 1, "max_active_runs of one_active_run")
    equal(plain(t.dags.get_dag("etl_chain", fields=["dag_id", "owners"])), {"dag_id": "etl_chain", "owners": ["lab"]}, "two fields")
    with t.refused(400):
        t.dags.get_dag("etl_chain", fields=["no_such_field"])


@step("dags details: times, documentation, parameters")
def details(t):
    seen = t.lenient(t.dags.get_dag_details, "etl_chain")
    subset(seen, {"dag_id": "etl_chain", "catchup": False, "concurrency": 16, "orientation": "LR", "timezone": "UTC"}, "details of etl_chain")
    equal(when(seen["start_date"]), datetime.datetime(2024, 1, 1, tzinfo=UTC), "start_date")
    check(seen["doc_md"].startswith("An ETL **chain**."), "doc_md is the one of the file")
    params = t.lenient(t.dags.get_dag_details, "params")["params"]
    equal({k: v["value"] for k, v in params.items()}, {"who": "world", "count": 3, "mode": "fast"}, "values of the params")
    equal(params["count"]["schema"], {"type": "integer", "minimum": 1, "maximum": 10, "title": "how often"}, "schema of count")
    with t.refused(404, "DAG not found"):
        t.dags.get_dag_details("nope")


@step("dags details: fields", since="2.10.0")
def details_fields(t):
    seen = plain(t.dags.get_dag_details("etl_chain", fields=["dag_id", "catchup"]))
    equal(seen, {"dag_id": "etl_chain", "catchup": False}, "two fields of the details")


@step("dagSources: the file's text by its token")
def source(t):
    token = plain(t.dags.get_dag("etl_chain"))["file_token"]
    content = plain(t.dags.get_dag_source(token))["content"]
    check("etl_chain:" in content or "dagfactory" in content, "the file is shown: %r" % content[:80])
    with t.refused(404, "Dag source not found"):
        t.dags.get_dag_source("bad_token")


def task_ids(answer):
    return [x["task_id"] for x in answer["tasks"]]


@step("tasks list: by id, ordered, groups, unknown DAG")
def tasks(t):
    seen = t.lenient(t.dags.get_tasks, "etl_chain")
    equal(task_ids(seen), ["extract", "load", "transform"], "tasks of etl_chain")
    equal({x["task_id"]: x["downstream_task_ids"] for x in seen["tasks"]}, {"extract": ["transform"], "transform": ["load"], "load": []}, "edges")
    back = t.lenient(t.dags.get_tasks, "etl_chain", order_by="-task_id")
    equal(task_ids(back), ["transform", "load", "extract"], "tasks ordered by -task_id")
    grouped = task_ids(t.lenient(t.dags.get_tasks, "grouped"))
    equal(grouped, sorted(["begin", "end", "ingest.db", "ingest.ingest_files.csv", "ingest.ingest_files.json", "publish.report"]), "tasks in groups")
    with t.refused(400, "Bad Request"):
        t.dags.get_tasks("etl_chain", order_by="nope")
    with t.refused(404, "DAG not found"):
        t.dags.get_tasks("nope")


@step("tasks get: operator, retries, pool, timeout, owner")
def task(t):
    def get(dag_id, task_id):
        return t.lenient(t.dags.get_task, dag_id, task_id)

    seen = get("etl_chain", "transform")
    subset(
        seen,
        {
            "task_id": "transform", "owner": "lab", "trigger_rule": "all_success", "depends_on_past": False, "wait_for_downstream": False,
            "retries": 0, "queue": "default", "pool": "default_pool", "pool_slots": 1, "execution_timeout": None, "weight_rule": "downstream",
            "priority_weight": 1, "extra_links": [], "template_fields": ["bash_command", "env", "cwd"], "downstream_task_ids": ["load"],
            "end_date": None, "ui_color": "#f0ede4", "ui_fgcolor": "#000",
        },
        "transform",
    )  # fmt: skip
    equal(seen["class_ref"]["class_name"], "BashOperator", "class of transform")
    equal(when(seen["start_date"]), datetime.datetime(2024, 1, 1, tzinfo=UTC), "start_date of transform")
    hopeless = get("retries_backoff", "hopeless")
    subset(hopeless, {"retries": 2, "retry_exponential_backoff": True}, "hopeless")
    subset(hopeless["retry_delay"], {"days": 0, "seconds": 1, "microseconds": 0}, "retry_delay of hopeless")
    subset(get("pools_priority", "heavy"), {"pool": "lab_pool", "pool_slots": 2, "priority_weight": 8, "weight_rule": "absolute"}, "heavy")
    subset(get("timeouts", "too_slow")["execution_timeout"], {"days": 0, "seconds": 2, "microseconds": 0}, "execution_timeout of too_slow")
    subset(get("past_dependent", "step"), {"depends_on_past": True, "wait_for_downstream": True}, "step")
    equal(get("tagged", "two")["owner"], "bob", "owner of two")
    equal(get("diamond_trigger_rules", "join_one_failed")["trigger_rule"], "one_failed", "trigger rule of join_one_failed")
    with t.refused(404, "Task not found"):
        t.dags.get_task("etl_chain", "nope")
    with t.refused(404, "DAG not found"):
        t.dags.get_task("nope", "nope")


@step("tasks get: members that came after 2.2", since="2.10.0")
def task_newer(t):
    subset(plain(t.dags.get_task("etl_chain", "extract")), {"doc_md": "pulls rows", "is_mapped": False, "task_display_name": "extract"}, "extract")
    equal(plain(t.dags.get_task("tagged", "two"))["task_display_name"], "Second task", "display name of two")
    equal(plain(t.dags.get_task("mapped", "each"))["is_mapped"], True, "is_mapped of each")


@step("dags patch: pause and unpause, and what it refuses")
def patch(t):
    try:
        seen = plain(t.dags.patch_dag("tagged", models.DAG(is_paused=True), update_mask=["is_paused"]))
        subset(seen, {"dag_id": "tagged", "is_paused": True}, "answer to the pause")
        equal(plain(t.dags.get_dag("tagged"))["is_paused"], True, "is_paused after the pause")
        with t.refused(400, "Bad Request", "Only `is_paused` field can be updated through the REST API"):
            t.dags.patch_dag("tagged", models.DAG(is_paused=False), update_mask=["description"])
        equal(plain(t.dags.get_dag("tagged"))["is_paused"], True, "is_paused after the refusal")
    finally:
        seen = plain(t.dags.patch_dag("tagged", models.DAG(is_paused=False)))
    equal(seen["is_paused"], False, "is_paused in the answer to the unpause")
    equal(plain(t.dags.get_dag("tagged"))["is_paused"], False, "is_paused after the unpause")
    with t.refused(404, "Dag with id: 'nope' not found"):
        t.dags.patch_dag("nope", models.DAG(is_paused=False))


@step("dags patch many: by pattern, and what it refuses", since="2.10.0")
def patch_many(t):
    def pause(value, **filters):
        return t.lenient(t.dags.patch_dags, filters.pop("dag_id_pattern", "tagg"), models.DAG(is_paused=value), **filters)

    try:
        seen = pause(True)
        equal([(d["dag_id"], d["is_paused"]) for d in seen["dags"]], [("tagged", True)], "the paused ones")
        equal(seen["total_entries"], 1, "total_entries")
        equal(plain(t.dags.get_dag("tagged"))["is_paused"], True, "is_paused afterwards")
    finally:
        seen = pause(False, update_mask=["is_paused"], tags=["prod"], only_active=True, limit=5, offset=0)
    equal([(d["dag_id"], d["is_paused"]) for d in seen["dags"]], [("tagged", False)], "the unpaused ones")
    none = pause(True, dag_id_pattern="no such dag")
    equal((none["dags"], none["total_entries"]), ([], 0), "a pattern that fits none")
    with t.refused(400, "Bad Request", "Only `is_paused` field can be updated through the REST API"):
        t.dags.patch_dags("tagg", models.DAG(is_paused=True), update_mask=["tags"])


@step("dags delete: gone with its runs, unknown ones are refused")
def delete(t):
    # A deleted DAG comes back when its file is read again, so each client has one of its own.
    dag_id = "sched_once" if t.version == "2.2.0" else "sched_daily_preset"

    def there():
        return dag_id in ids(listed(t, limit=100))

    t.wait("the DAG %s" % dag_id, there, bool)
    run = t.trigger(dag_id, "to_be_deleted")
    equal(t.dags.delete_dag(dag_id), None, "answer to the delete")
    runs = plain(t.runs.get_dag_runs(dag_id))
    check(run["dag_run_id"] not in [r["dag_run_id"] for r in runs["dag_runs"]], "its run is gone")
    with t.refused(404, "Dag with id: 'nope' not found"):
        t.dags.delete_dag("nope")


@step("parseDagFile: the file is read again, an unknown token", since="2.10.0")
def reparse(t):
    token = t.lenient(t.dags.get_dag, "etl_chain")["file_token"]
    equal(t.dags.reparse_dag_file(token), None, "answer")
    with t.refused(404, "File not found"):
        t.dags.reparse_dag_file("bad_token")
