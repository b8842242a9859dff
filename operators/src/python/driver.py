# Calls one function for a task. The host sends ground.py with this text and the input, and answers what the function
# asks for.

log = logging.getLogger("airflow.task")


# ---------------------------------------------------------------------------
# What functions import from Airflow, where Airflow itself is not installed.


class AirflowException(Exception):
    pass


class AirflowFailException(AirflowException):
    pass


class AirflowSkipException(AirflowException):
    pass


class AirflowNotFoundException(AirflowException):
    pass


class AirflowTaskTimeout(BaseException):
    pass


class AirflowTaskTerminated(BaseException):
    pass


class Variable:
    @classmethod
    def get(cls, key, default_var=Ellipsis, deserialize_json=False):
        value = ask(ask="variable", key=key)
        if value is None:
            if default_var is Ellipsis:
                raise KeyError(f"Variable {key} does not exist")
            return default_var
        return json.loads(value) if deserialize_json else value


class Connection(types.SimpleNamespace):
    @property
    def extra_dejson(self):
        return json.loads(self.extra) if self.extra else {}

    def get_password(self):
        return self.password

    def get_extra(self):
        return self.extra


def get_connection(conn_id):
    found = ask(ask="connection", key=conn_id)
    if found is None:
        raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")
    return Connection(**found)


class BaseHook:
    @classmethod
    def get_connection(cls, conn_id):
        return get_connection(conn_id)


def get_current_context():
    if _context is None:
        raise AirflowException("Current context was requested but no context was found!")
    return _context


class Dataset:
    def __init__(self, uri, extra=None):
        self.uri, self.extra = uri, extra

    def __eq__(self, other):
        return isinstance(other, Dataset) and (self.uri, self.extra) == (other.uri, other.extra)

    def __hash__(self):
        return hash(self.uri)

    def __repr__(self):
        return f"Dataset(uri={self.uri!r}, extra={self.extra!r})"


def _stand_in_for_airflow():
    def module(name, **content):
        new = types.ModuleType(name)
        new.__path__ = []
        vars(new).update(content)
        sys.modules[name] = new
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, new)

    module("airflow")
    module(
        "airflow.exceptions",
        AirflowException=AirflowException,
        AirflowFailException=AirflowFailException,
        AirflowSkipException=AirflowSkipException,
        AirflowNotFoundException=AirflowNotFoundException,
        AirflowTaskTimeout=AirflowTaskTimeout,
        AirflowTaskTerminated=AirflowTaskTerminated,
    )
    module("airflow.datasets", Dataset=Dataset)
    module("airflow.models", Variable=Variable, Connection=Connection)
    module("airflow.models.variable", Variable=Variable)
    module("airflow.models.connection", Connection=Connection)
    module("airflow.hooks")
    module("airflow.hooks.base", BaseHook=BaseHook)
    module("airflow.operators")
    module("airflow.operators.python", get_current_context=get_current_context)


# ---------------------------------------------------------------------------
# The context: plain data, and what asks the host.


def _moment(text):
    if text is None:
        return None
    moment = datetime.datetime.fromisoformat(text)
    try:
        import pendulum
    except ImportError:
        return moment
    return pendulum.instance(moment)


class _Data(types.SimpleNamespace):
    def __repr__(self):
        return f"<{type(self).__name__}: {self._name()}>"

    def __str__(self):
        return repr(self)


class DAG(_Data):
    def _name(self):
        return self.dag_id


class Task(_Data):
    def __repr__(self):
        return f"<Task({self.task_type}): {self.task_id}>"


class DagRun(_Data):
    def __repr__(self):
        return f"<DagRun {self.dag_id} @ {self.logical_date}: {self.run_id}, state:{self.state}>"


class TaskInstance(_Data):
    def __repr__(self):
        index = "" if self.map_index == -1 else f" map_index={self.map_index}"
        return f"<TaskInstance: {self.dag_id}.{self.task_id} {self.run_id}{index} [{self.state}]>"

    def get_dagrun(self, session=None):
        return self.dag_run

    def xcom_push(self, key, value, execution_date=None, session=None):
        ask(ask="push", key=key, value=plain(value))

    def xcom_pull(
        self,
        task_ids=None,
        dag_id=None,
        key="return_value",
        include_prior_dates=False,
        session=None,
        *,
        map_indexes=None,
        default=None,
        run_id=None,
    ):
        many_tasks = task_ids is not None and not isinstance(task_ids, str)
        many_indexes = map_indexes is not None and not isinstance(map_indexes, int)
        pulled = ask(
            ask="xcoms",
            dag_id=dag_id,
            run_id=run_id,
            task_ids=list(task_ids) if many_tasks else task_ids and [task_ids],
            key=key,
            map_indexes=list(map_indexes) if many_indexes else map_indexes if map_indexes is None else [map_indexes],
            include_prior_dates=bool(include_prior_dates),
            many=many_tasks or many_indexes,
        )
        if pulled is None:
            return default
        return pulled["one"] if "one" in pulled else pulled["many"]


class DatasetEvent(_Data):
    def _name(self):
        return self.uri


def _dataset_event(given):
    timestamp, run = _moment(given.pop("timestamp")), given.pop("source_dag_run")
    if run is not None:
        for name in ("logical_date", "data_interval_start", "data_interval_end"):
            run[name] = _moment(run[name])
        run = DagRun(**run, execution_date=run["logical_date"])
    return DatasetEvent(**given, timestamp=timestamp, dataset=Dataset(given["uri"]), source_dag_run=run)


class _TriggeringEvents(collections.abc.Mapping):
    """Asked for once somebody looks."""

    @functools.cached_property
    def _by_uri(self):
        by_uri = {}
        for event in map(_dataset_event, ask(ask="triggering_dataset_events")):
            by_uri.setdefault(event.uri, []).append(event)
        return by_uri

    def __getitem__(self, uri):
        return self._by_uri[uri]

    def __iter__(self):
        return iter(self._by_uri)

    def __len__(self):
        return len(self._by_uri)

    def __repr__(self):
        return repr(self._by_uri)


class _OutletEvents(collections.abc.Mapping):
    """By datasets or their URIs: what the function says of its updates."""

    def __init__(self):
        self._by_uri = {}

    def __getitem__(self, dataset):
        return self._by_uri.setdefault(getattr(dataset, "uri", dataset), types.SimpleNamespace(extra={}))

    def __iter__(self):
        return iter(self._by_uri)

    def __len__(self):
        return len(self._by_uri)

    def tell(self):
        for uri, event in self._by_uri.items():
            if event.extra:
                ask(ask="outlet_event", uri=uri, extra=plain(event.extra))


class _Params(dict):
    def dump(self):
        return dict(self)


class _Lookup:
    """`var.value.x`, `var.json.x` and `conn.x`."""

    def __init__(self, get):
        self._get = get

    def __getattr__(self, key):
        return self._get(key)

    def get(self, key, default_var=Ellipsis):
        try:
            return self._get(key)
        except (KeyError, AirflowNotFoundException):
            if default_var is Ellipsis:
                raise
            return default_var


def _ds_add(ds, days):
    return (datetime.datetime.strptime(str(ds), "%Y-%m-%d") + datetime.timedelta(days=days)).strftime("%Y-%m-%d")


def _ds_format(ds, input_format, output_format, locale=None):
    return datetime.datetime.strptime(str(ds), input_format).strftime(output_format)


def _macros():
    import random
    import uuid

    return types.SimpleNamespace(
        datetime=datetime.datetime,
        timedelta=datetime.timedelta,
        time=time,
        uuid=uuid,
        random=random.random,
        ds_add=_ds_add,
        ds_format=_ds_format,
    )


def build_context(given, templates_dict):
    run, params = given["run"], _Params(given["params"])
    logical = _moment(run["logical_date"])
    start, end = _moment(run["data_interval_start"]), _moment(run["data_interval_end"])
    dag = DAG(**given["dag"], params=params)
    task = Task(**given["task"], dag=dag, dag_id=dag.dag_id, params=params)
    task.upstream_task_ids = set(task.upstream_task_ids)
    task.downstream_task_ids = set(task.downstream_task_ids)
    dag_run = DagRun(
        dag_id=dag.dag_id,
        run_id=run["run_id"],
        run_type=run["run_type"],
        state="running",
        logical_date=logical,
        execution_date=logical,
        data_interval_start=start,
        data_interval_end=end,
        start_date=_moment(run["start_date"]),
        queued_at=_moment(run["queued_at"]),
        external_trigger=run["external_trigger"],
        conf=run["conf"],
    )
    facts = given["ti"]
    ti = TaskInstance(
        dag_id=dag.dag_id,
        task_id=task.task_id,
        run_id=dag_run.run_id,
        map_index=facts["map_index"],
        try_number=facts["try_number"],
        max_tries=facts["max_tries"],
        state="running",
        start_date=_moment(facts["start_date"]),
        logical_date=logical,
        execution_date=logical,
        hostname=os.uname().nodename,
        pid=os.getpid(),
        operator=task.task_type,
        pool=task.pool,
        queue=task.queue,
        dag_run=dag_run,
        task=task,
        log=log,
    )
    day = datetime.timedelta(days=1)
    ts, ds = logical.isoformat(), logical.strftime("%Y-%m-%d")
    # A run from outside the schedule has no neighbours but itself.
    before, after = (logical, logical) if dag_run.external_trigger else (None, end)
    date = lambda moment: moment and moment.strftime("%Y-%m-%d")  # noqa: E731
    nodash = lambda text: text and text.replace("-", "")  # noqa: E731
    yesterday, tomorrow = date(logical - day), date(logical + day)
    return {
        "conn": _Lookup(get_connection),
        "dag": dag,
        "dag_run": dag_run,
        "data_interval_end": end,
        "data_interval_start": start,
        "ds": ds,
        "ds_nodash": nodash(ds),
        "execution_date": logical,
        "expanded_ti_count": None,
        "inlets": [Dataset(**dataset) for dataset in given["inlets"]],
        "logical_date": logical,
        "macros": _macros(),
        "map_index_template": None,
        "next_ds": date(after),
        "next_ds_nodash": nodash(date(after)),
        "next_execution_date": after,
        "outlet_events": _OutletEvents(),
        "outlets": [Dataset(**dataset) for dataset in given["outlets"]],
        "params": params,
        "prev_ds": date(before),
        "prev_ds_nodash": nodash(date(before)),
        "prev_execution_date": before,
        "run_id": dag_run.run_id,
        "task": task,
        "task_instance": ti,
        "task_instance_key_str": f"{dag.dag_id}__{task.task_id}__{nodash(ds)}",
        "templates_dict": templates_dict,
        "test_mode": False,
        "ti": ti,
        "tomorrow_ds": tomorrow,
        "tomorrow_ds_nodash": nodash(tomorrow),
        "triggering_dataset_events": _TriggeringEvents(),
        "ts": ts,
        "ts_nodash": logical.strftime("%Y%m%dT%H%M%S"),
        "ts_nodash_with_tz": ts.replace("-", "").replace(":", ""),
        "var": types.SimpleNamespace(
            value=_Lookup(Variable.get),
            json=_Lookup(lambda key: Variable.get(key, deserialize_json=True)),
        ),
        "yesterday_ds": yesterday,
        "yesterday_ds_nodash": nodash(yesterday),
    }


PREVIOUS = (
    "prev_data_interval_start_success",
    "prev_data_interval_end_success",
    "prev_start_date_success",
    "prev_end_date_success",
)


def add_previous(context):
    dates = ask(ask="previous_success") or [None] * 4
    context.update(zip(PREVIOUS, map(_moment, dates)))


# ---------------------------------------------------------------------------
# The call.


def plain(value):
    """The value as JSON has it."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    kind = type(value)
    if kind.__module__ == "decimal" and kind.__name__ == "Decimal":
        return int(value) if value == value.to_integral_value() else float(value)
    if kind.__module__ == "uuid":
        return str(value)
    if kind.__module__ == "numpy":
        return plain(value.tolist())
    raise TypeError(f"cannot serialize object of type {kind}")


def check_result(value):
    try:
        result = plain(value)
        json.dumps(result, allow_nan=False)
        return result
    except RecursionError:
        raise ValueError("the result is nested too deeply, or holds itself") from None
    except (TypeError, ValueError):
        log.error(
            "Could not serialize the XCom value into JSON. Return what JSON can hold: "
            "strings, numbers, booleans, None, lists and dictionaries."
        )
        raise


def find_callable(where):
    name = where["name"]
    if "file" in where:
        file = os.path.realpath(where["file"])
        module_name = os.path.splitext(os.path.basename(file))[0]
        spec = importlib.util.spec_from_file_location(module_name, file)
        if spec is None:
            raise ImportError(f"{file} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
        found = getattr(module, name)
    else:
        module = importlib.import_module(where["module"])
        try:
            found = getattr(module, name)
        except AttributeError:
            raise ImportError(f'Module "{where["module"]}" does not define a "{name}" attribute/class') from None
    if not callable(found):
        raise AirflowException("`python_callable` param must be callable")
    return found


def select_kwargs(function, args, context):
    parameters = inspect.signature(function).parameters
    for name in list(parameters)[: len(args)]:
        if name in context:
            raise ValueError(f"The key {name!r} in args is a part of kwargs and therefore reserved.")
    takes_all = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    if takes_all or any(name in parameters for name in PREVIOUS):
        asked = dict(context)
        add_previous(asked)
        # What the task itself gave wins.
        context = {**asked, **context}
    if takes_all:
        return context
    return {name: context[name] for name in parameters if name in context}


def call(function, args, kwargs):
    try:
        if not inspect.isgeneratorfunction(function):
            return function(*args, **kwargs)
        steps = function(*args, **kwargs)
        while True:
            try:
                item = next(steps)
            except StopIteration as end:
                return end.value
            log.warning("Ignoring unknown data of %r received from task", type(item))
    except SystemExit as end:
        if end.code is not None and end.code != 0:
            raise
        return None


def is_called(error, *names):
    return any(kind.__name__ in names for kind in type(error).__mro__)


def text_of(error):
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == "<updraft>":
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def run(given):
    global _context
    sys.path.extend(folder for folder in given["path"] if folder not in sys.path)
    try:
        is_installed = importlib.util.find_spec("airflow") is not None
    except (ImportError, ValueError):
        is_installed = False
    if not is_installed:
        _stand_in_for_airflow()
    _context = build_context(given["context"], given["templates_dict"])
    outlet_events = _context["outlet_events"]
    _context.update(given["kwargs"])
    _context["templates_dict"] = given["templates_dict"]
    function = find_callable(given["callable"])
    args = given["args"]
    value = call(function, args, select_kwargs(function, args, _context))
    outlet_events.tell()
    if given["shows_result"]:
        log.info("Done. Returned value was: %s", value)
    else:
        log.info("Done. Returned value not shown")
    return {
        "end": "returned",
        "holds": bool(value) if given["wants_truth"] else False,
        "shown": str(value)[:1000],
        "value": check_result(value) if given["wants_result"] else None,
    }


def terminated(signum, frame):
    log.error("Received SIGTERM. Terminating subprocesses.")
    raise AirflowTaskTerminated("Task received SIGTERM signal")


def main():
    signal.signal(signal.SIGTERM, terminated)
    try:
        end = run(json.loads(_from_host.readline()))
    except BaseException as error:
        if is_called(error, "AirflowSkipException"):
            log.info("%s", error)
            end = {"end": "skipped"}
        elif isinstance(error, SystemExit):
            end = {"end": "failed", "text": f"Task failed due to SystemExit({error.code})"}
        else:
            is_final = is_called(error, "AirflowFailException", "AirflowSensorTimeout")
            end = {"end": "failed_for_good" if is_final else "failed", "text": text_of(error)}
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with _lock:
        _send(end)
    # As Airflow's runner does: no thread or handler of the function holds the try up any longer.
    os._exit(0)


_context = None
main()
