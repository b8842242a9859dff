# Runs the tasks of a Director project, one after the other. The host sends ground.py with this text, then where the
# project is, and then one line for each task.

import importlib
import importlib.util
import random
import types
import uuid

HIDDEN = {
    "DIRECTOR_ENABLE_HISTORY_MODE",
    "DIRECTOR_REFRESH_INTERVAL",
    "DIRECTOR_API_URL",
    "DIRECTOR_FLOWER_URL",
    "DIRECTOR_DATABASE_URI",
    "DIRECTOR_DATABASE_POOL_RECYCLE",
    "DIRECTOR_BROKER_URI",
    "DIRECTOR_RESULT_BACKEND_URI",
    "DIRECTOR_SENTRY_DSN",
}

tasks = {}
_module = None


# ---------------------------------------------------------------------------
# What projects import from Director, and from Celery where Celery itself is not installed.


def _exceptions():
    if importlib.util.find_spec("celery") is not None:
        from celery import exceptions

        return exceptions
    names = ("Ignore", "Reject", "Retry", "MaxRetriesExceededError", "SoftTimeLimitExceeded", "TimeLimitExceeded")
    module = types.ModuleType("celery.exceptions")
    for name in names:
        setattr(module, name, type(name, (Exception,), {"__module__": "celery.exceptions"}))
    return module


class Config(dict):
    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(f"Config '{error.args[0]}' not defined") from None


config = Config()


class _Again(Exception):
    """The task asks for another try."""

    def __init__(self, countdown):
        super().__init__(f"Retry in {countdown}s")
        self.countdown = countdown


class Request(types.SimpleNamespace):
    called_directly = False

    def get(self, name, default=None):
        return getattr(self, name, default)


class Task:
    """A function with the options of its decorator, as Celery's tasks have them."""

    def __init__(self, function, name, bind=False, **options):
        self.name = name
        self.bind = bind
        self.function = function
        self.options = options
        self.max_retries = options.get("max_retries", 3)
        self.default_retry_delay = options.get("default_retry_delay", 180)
        self.time_limit = options.get("time_limit")
        self.soft_time_limit = options.get("soft_time_limit")
        self.request = Request(id=None, retries=0, args=[], kwargs={})
        self.__name__ = getattr(function, "__name__", name)
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__wrapped__ = function

    def __repr__(self):
        return f"<@task: {self.name}>"

    def __call__(self, *args, **kwargs):
        return self.function(self, *args, **kwargs) if self.bind else self.function(*args, **kwargs)

    run = __call__

    def update_state(self, *args, **kwargs):
        pass

    def retry(self, args=None, kwargs=None, exc=None, throw=True, eta=None, countdown=None, max_retries=None, **options):
        most = self.max_retries if max_retries is None else max_retries
        if most is not None and self.request.retries >= most:
            if exc is not None:
                raise exc
            if sys.exc_info()[1] is not None:
                raise
            raise exceptions.MaxRetriesExceededError(
                f"Can't retry {self.name}[{self.request.id}] args:{self.request.args} kwargs:{self.request.kwargs}"
            )
        if countdown is None and eta is not None:
            countdown = max(0, (eta - datetime.datetime.now(eta.tzinfo)).total_seconds())
        again = _Again(self.default_retry_delay if countdown is None else countdown)
        if throw:
            raise again
        return again

    def try_once(self, args, kwargs):
        kinds = tuple(self.options.get("autoretry_for", ()))
        never = tuple(self.options.get("dont_autoretry_for", ()))
        try:
            return self(*args, **kwargs)
        except (_Again, exceptions.Ignore, exceptions.Reject):
            raise
        except Exception as error:
            if not kinds or not isinstance(error, kinds) or isinstance(error, never):
                raise
            retry = dict(self.options.get("retry_kwargs", {}))
            backoff = self.options.get("retry_backoff", False)
            if backoff:
                longest = self.options.get("retry_backoff_max", 600)
                delay = min(int(backoff) * 2**self.request.retries, longest)
                if self.options.get("retry_jitter", True):
                    delay = random.randrange(delay + 1)
                retry["countdown"] = delay
            raise self.retry(exc=error, throw=False, **retry) from error


def task(*given, **options):
    def declare(function):
        name = options.pop("name", None) or f"{_module or function.__module__}.{function.__name__}"
        options.pop("base", None)
        made = Task(function, name, **options)
        tasks[name] = made
        return made

    if len(given) == 1 and callable(given[0]) and not options:
        return declare(given[0])
    return declare


def _stand_in():
    def module(name, **content):
        new = types.ModuleType(name)
        new.__path__ = []
        vars(new).update(content)
        sys.modules[name] = new
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, new)
        return new

    module("director", task=task, config=config, __version__="0.10.0")
    names = ("WorkflowNotFound", "SchemaNotFound", "SchemaNotValid", "WorkflowSyntaxError", "UserNotFound")
    module("director.exceptions", **{name: type(name, (Exception,), {}) for name in names})
    module("director.extensions", cel=types.SimpleNamespace(task=task, tasks=tasks))
    if importlib.util.find_spec("celery") is None:
        module("celery", shared_task=task, Task=Task)
        sys.modules["celery.exceptions"] = sys.modules["celery"].exceptions = exceptions
        module("celery.utils", uuid=lambda: str(uuid.uuid4()))
        module("celery.utils.log", get_task_logger=logging.getLogger)


# ---------------------------------------------------------------------------
# The project.


def read_env(path):
    """Variables of the project's `.env` that the environment does not have."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name or name.startswith("#"):
            continue
        quote = value[:1]
        if quote in ("'", '"') and quote in value[1:]:
            value = value[1 : value.index(quote, 1)]
        else:
            value = value.split(" #")[0].rstrip()
        os.environ.setdefault(name, value if quote == "'" else os.path.expandvars(value))


def import_tasks(folder):
    global _module
    problems = []
    for root, folders, files in os.walk(os.path.join(folder, "tasks")):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for file in sorted(files):
            stem, extension = os.path.splitext(file)
            if extension != ".py" or stem == "__init__":
                continue
            path = os.path.join(root, file)
            _module = os.path.relpath(path, folder)[:-3].replace(os.sep, ".")
            try:
                importlib.import_module(_module)
            except BaseException as error:
                problems.append([path, trace_of(error)])
    _module = None
    return problems


def trace_of(error):
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(("<updraft>", "<frozen importlib")):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))



def plain(value):
    """What the encoder does not know, as it is sent."""
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID) or type(value).__name__ == "Decimal":
        return str(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


class EncodeError(Exception):
    """As Celery calls what cannot be sent."""

    __module__ = "kombu.exceptions"


def encoded(value):
    """The value as JSON has it: tuples are lists, keys are texts."""
    try:
        return json.loads(json.dumps(value, default=plain, allow_nan=False))
    except (RecursionError, TypeError, ValueError) as error:
        raise EncodeError(str(error)) from error


def too_late(signum, frame):
    raise exceptions.SoftTimeLimitExceeded()


def run(given):
    found = tasks.get(given["task"])
    if found is None:
        return {"end": "failed", "exception": f"no task is registered as {given['task']!r}", "traceback": ""}
    found.request = Request(
        id=given["id"],
        root_id=given["id"],
        parent_id=None,
        task=found.name,
        retries=given["retries"],
        args=given["args"],
        kwargs={"payload": given["payload"], "workflow_id": given["workflow_id"]},
        delivery_info={"exchange": "", "routing_key": given["queue"], "priority": None, "redelivered": False},
        hostname=os.uname().nodename,
        logfile=None,
        correlation_id=given["id"],
        is_eager=False,
    )
    try:
        if found.soft_time_limit:
            signal.signal(signal.SIGALRM, too_late)
            signal.setitimer(signal.ITIMER_REAL, float(found.soft_time_limit))
        try:
            value = found.try_once(given["args"], found.request.kwargs)
        finally:
            if found.soft_time_limit:
                signal.setitimer(signal.ITIMER_REAL, 0)
        return {"end": "returned", "value": encoded(value)}
    except _Again as again:
        return {"end": "retry", "countdown": max(0.0, float(again.countdown))}
    except BaseException as error:
        return {"end": "failed", "exception": str(error), "traceback": trace_of(error)}


def main():
    global exceptions
    start = json.loads(_from_host.readline())
    folder = start["project"]
    os.environ.setdefault("DIRECTOR_HOME", folder)
    read_env(os.path.join(folder, ".env"))
    config.update(
        (name[len("DIRECTOR_") :], value)
        for name, value in os.environ.items()
        if name.startswith("DIRECTOR_") and name not in HIDDEN
    )
    sys.path.insert(0, folder)
    exceptions = _exceptions()
    _stand_in()
    problems = import_tasks(folder)
    _send({"tasks": sorted(tasks), "problems": problems})
    while True:
        line = _from_host.readline()
        if not line:
            break
        given = json.loads(line)
        limit = getattr(tasks.get(given["task"]), "time_limit", None)
        _send({"taken": True, "time_limit": limit})
        end = run(given)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                pass
        with _lock:
            os.write(2, given["mark"].encode())
            try:
                _send(end)
            except (TypeError, ValueError) as error:
                _send({"end": "failed", "exception": str(error), "traceback": trace_of(error)})
    os._exit(0)


main()
