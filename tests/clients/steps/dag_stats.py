"""How many runs of a DAG are in which state."""

from harness import equal, plain, step


def counts(answer):
    return {d["dag_id"]: {s["state"]: s["count"] for s in d["stats"]} for d in answer["dags"]}


@step("dagStats: of some DAGs, and of unknown ones", since="2.10.0")
def get(t):
    t.finished("etl_chain")
    t.finished("always_fails", "failed")
    seen = plain(t.dag_stats.get_dag_stats("etl_chain,always_fails,nope"))
    found = counts(seen)
    equal(sorted(found), ["always_fails", "etl_chain"], "DAGs of the answer")
    equal(seen["total_entries"], 2, "total_entries")
    for dag_id, states in found.items():
        equal(sorted(states), ["failed", "queued", "running", "success"], "states of %s" % dag_id)
        for state, count in states.items():
            equal(count, plain(t.runs.get_dag_runs(dag_id, state=[state]))["total_entries"], "%s runs of %s" % (state, dag_id))
    none = plain(t.dag_stats.get_dag_stats("nope"))
    equal((none["dags"], none["total_entries"]), ([], 0), "of an unknown DAG")
