"""Import errors: the folder of DAGs has one broken file."""

from harness import check, equal, plain, step, when


def broken(t):
    def look():
        return plain(t.import_errors.get_import_errors(limit=100))

    def of_file(seen):
        return [e for e in seen["import_errors"] if "/broken" in e["filename"]]

    return of_file(t.wait("the import error of the broken file", look, of_file))[0]


@step("importErrors list and get: the broken file, with its reason")
def get(t):
    error = broken(t)
    check(error["stack_trace"].strip(), "it says why")
    when(error["timestamp"])
    equal(plain(t.import_errors.get_import_error(error["import_error_id"])), error, "the error read by its id")
    with t.refused(404, "Import error not found", "The ImportError with import_error_id: `99999` was not found"):
        t.import_errors.get_import_error(99999)


@step("importErrors list: order and pages")
def listing(t):
    broken(t)
    whole = plain(t.import_errors.get_import_errors(order_by="import_error_id", limit=100))
    ids = [e["import_error_id"] for e in whole["import_errors"]]
    equal(ids, sorted(ids), "order by id")
    equal(whole["total_entries"], len(ids), "total_entries")
    back = plain(t.import_errors.get_import_errors(order_by="-import_error_id", limit=1, offset=0))
    equal([e["import_error_id"] for e in back["import_errors"]], ids[-1:], "the newest")
    equal(plain(t.import_errors.get_import_errors(offset=1000))["import_errors"], [], "the page after the end")
    with t.refused(400, "Bad Request", "Ordering with 'nope' is disallowed or the attribute does not exist on the model"):
        t.import_errors.get_import_errors(order_by="nope")
