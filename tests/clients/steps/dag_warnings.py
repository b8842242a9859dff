"""Warnings about DAGs: one of the folder names a pool that does not exist."""

from harness import equal, plain, step, subset, when

DAG = "nonexistent_pool"


@step("dagWarnings list: the pool that does not exist, filters, order", since="2.10.0")
def listing(t):
    def warned(**filters):
        return [w for w in plain(t.dag_warnings.get_dag_warnings(**filters))["dag_warnings"] if w["dag_id"] == DAG]

    seen = t.wait("the warning", warned, len)
    expected = {"dag_id": DAG, "message": "Dag 'nonexistent_pool' references non-existent pools: ['no_such_pool']"}
    subset(seen[0], expected, "the warning")
    when(seen[0]["timestamp"])
    equal(len(warned(dag_id=DAG, warning_type="non-existent pool")), 1, "by DAG and type")
    equal(warned(dag_id="etl_chain"), [], "of a DAG without warnings")
    equal(plain(t.dag_warnings.get_dag_warnings(dag_id=DAG, offset=1, limit=1)), {"dag_warnings": [], "total_entries": 1}, "the page after")
    equal(len(warned(order_by="-timestamp")), 1, "ordered")
    with t.refused(400, "Bad Request", "Ordering with 'nope' is disallowed or the attribute does not exist on the model"):
        t.dag_warnings.get_dag_warnings(order_by="nope")
