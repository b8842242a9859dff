"""What tasks hand to each other."""

from harness import equal, plain, step, subset, when

DAG = "xcom"


def keys(answer):
    return sorted((e["task_id"], e["key"]) for e in answer["xcom_entries"])


@step("xcomEntries list: of a task, of a run, pages")
def listing(t):
    run = t.finished(DAG)["dag_run_id"]
    seen = plain(t.xcoms.get_xcom_entries(DAG, run, "push"))
    equal((keys(seen), seen["total_entries"]), ([("push", "return_value")], 1), "entries of push")
    when(seen["xcom_entries"][0]["timestamp"])
    every = plain(t.xcoms.get_xcom_entries(DAG, run, "~"))
    equal([k[0] for k in keys(every)], ["empty_output", "pull", "push", "push_json"], "tasks of the run with entries")
    page = plain(t.xcoms.get_xcom_entries(DAG, run, "~", limit=1, offset=1))
    equal((len(page["xcom_entries"]), page["total_entries"]), (1, 4), "the second page of one")
    for task in ("no_push", "nope"):
        none = plain(t.xcoms.get_xcom_entries(DAG, run, task))
        equal((none["xcom_entries"], none["total_entries"]), ([], 0), "entries of %s" % task)


@step("xcomEntries get: values, and unknown ones")
def get(t):
    run = t.finished(DAG)

    def value(task):
        seen = plain(t.xcoms.get_xcom_entry(DAG, run["dag_run_id"], task, "return_value"))
        subset(seen, {"dag_id": DAG, "task_id": task, "key": "return_value"}, "entry of %s" % task)
        equal(when(seen["execution_date"]), when(run["execution_date"]), "execution_date of the entry")
        return seen["value"]

    equal(value("push"), "the last line", "value of push")
    equal(value("push_json"), '{"a": 1}', "value of push_json")
    equal(value("empty_output"), "", "value of empty_output")
    equal(value("pull"), "got the last line", "value of pull")
    with t.refused(404, "XCom entry not found"):
        t.xcoms.get_xcom_entry(DAG, run["dag_run_id"], "push", "nope")
    with t.refused(404, "XCom entry not found"):
        t.xcoms.get_xcom_entry(DAG, run["dag_run_id"], "nope", "return_value")


@step("xcomEntries: key, map_index, stringify, deserialize", since="2.10.0")
def newer(t):
    run = t.finished(DAG)["dag_run_id"]
    equal(len(plain(t.xcoms.get_xcom_entries(DAG, run, "~", xcom_key="return_value"))["xcom_entries"]), 4, "entries by key")
    equal(plain(t.xcoms.get_xcom_entries(DAG, run, "~", xcom_key="nope"))["xcom_entries"], [], "entries by an unknown key")
    equal(plain(t.xcoms.get_xcom_entries(DAG, run, "~", map_index=5))["xcom_entries"], [], "entries of an unknown map index")
    seen = plain(t.xcoms.get_xcom_entry(DAG, run, "push", "return_value", map_index=-1, stringify=False))
    subset(seen, {"value": "the last line", "map_index": -1}, "not stringified")
    with t.refused(400, "Bad Request", "XCom deserialization is disabled in configuration."):
        t.xcoms.get_xcom_entry(DAG, run, "push", "return_value", deserialize=True)
    branch = t.finished("branching")["dag_run_id"]
    equal(plain(t.xcoms.get_xcom_entry("branching", branch, "choose", "return_value"))["value"], "left", "what the branch returned")
    key = ("branching", branch, "choose", "skipmixin_key")
    equal(plain(t.xcoms.get_xcom_entry(*key))["value"], "{'followed': ['left']}", "what the branch followed, as text")
    equal(plain(t.xcoms.get_xcom_entry(*key, stringify=False))["value"], {"followed": ["left"]}, "what the branch followed")
