"""Run a module's tests on its mutants, each in a process of its own that ends at the first test that fails.

Where a mutant differs within one function, the process is a copy of one that has collected all tests, and only gives
that function its other code. Else it imports the whole project anew, and copies only what other projects made.
"""

import ast
import contextlib
import gc
import importlib
import inspect
import itertools
import os
import pickle
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest
from attrs import define, field, frozen
from hypothesis import HealthCheck, Phase, settings

from tests.mutation.mutants import Mutant

ROOT = Path(__file__).parents[2]
# Without conftest.py no test starts a store, and nobody reads why one has failed.
_OPTIONS = ("-x", "-q", "--assert=plain", "--noconftest", "-p", "no:cacheprovider", "-p", "tests.tried")
_SPARE_SECONDS, _SPARE_FACTOR = 10.0, 5.0


@frozen
class Target:
    """A module, from the root of its repository, and the files of the tests that should notice what becomes of it."""

    path: str
    tests: Sequence[str]
    root: Path = ROOT

    @property
    def file(self) -> str:
        """The file with its whole path."""
        return str(self.root / self.path)

    def is_ours(self, module: ModuleType) -> bool:
        """Tell whether a module is of the same repository, and so perhaps has something of this one in it."""
        file = getattr(module, "__file__", None) or ""
        return file.startswith(str(self.root)) and "site-packages" not in file

    @property
    def name(self) -> str:
        """The name by which it is imported."""
        return self.path.removesuffix(".py").replace("/", ".")

    @property
    def source(self) -> str:
        """The text as it is."""
        return Path(self.file).read_text()


@frozen
class _Noticed:
    """What a test took, and the first line of each statement of the module that it ran."""

    seconds: float
    lines: frozenset[int]


@frozen
class _Baseline:
    """How the tests of a module go while nothing is broken."""

    tests: dict[str, _Noticed]
    at_import: frozenset[int]
    imported: frozenset[str]

    def is_run_at_import(self, mutant: Mutant) -> bool:
        return mutant.lines.start in self.at_import

    def for_mutant(self, mutant: Mutant) -> list[str]:
        """Name the tests that run what was changed, the quickest first."""
        names = [
            name
            for name, noticed in self.tests.items()
            if self.is_run_at_import(mutant) or mutant.lines.start in noticed.lines
        ]
        return sorted(names, key=lambda name: self.tests[name].seconds)


def survivors(target: Target, mutants: Sequence[Mutant], *, jobs: int) -> list[Mutant]:
    """Give the mutants that no test notices; `RuntimeError` if a test fails with nothing changed."""
    with tempfile.TemporaryDirectory() as folder:
        found, output = Path(folder, "found"), Path(folder, "output")
        os.environ["PYTEST_DEBUG_TEMPROOT"] = folder  # those that end at once clear nothing up
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        child = _fork(lambda: _watch_and_try(target, mutants, jobs, found), output)
        if os.waitpid(child, 0)[1] != 0:
            raise RuntimeError(f"the tests of {target.path} don't pass as it is:\n{output.read_text()}")
        base, survived = pickle.loads(found.read_bytes())
        for name in sorted(base.imported):
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        gc.freeze()
        crew = _Crew(base, jobs)
        for mutant in mutants:
            if base.is_run_at_import(mutant):
                crew.take(mutant, partial(_try_anew, target, mutant, base.for_mutant(mutant)))
        survived = {*survived, *crew.finish()}
        return [mutant for mutant in mutants if mutant in survived]


def _fork(work: Callable[[], int], output: Path = Path(os.devnull)) -> int:
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setsid()
            for stream, mode in enumerate(("r", "w", "w")):
                with Path(os.devnull if mode == "r" else output).open(mode) as file:
                    os.dup2(file.fileno(), stream)
            code = work()
        finally:
            os._exit(code)
    return child


@define
class _Crew:
    """Processes at work on mutants, at most `jobs` at a time."""

    base: _Baseline
    jobs: int
    running: dict[int, tuple[Mutant, float]] = field(factory=dict)
    survived: set[Mutant] = field(factory=set)

    def take(self, mutant: Mutant, work: Callable[[], int]) -> None:
        """Begin with a mutant, as soon as there is room."""
        names = self.base.for_mutant(mutant)
        if not names:
            self.survived.add(mutant)
            return
        while len(self.running) >= self.jobs:
            self._wait()
        limit = _SPARE_SECONDS + _SPARE_FACTOR * sum(self.base.tests[name].seconds for name in names)
        self.running[_fork(work)] = mutant, time.monotonic() + limit

    def finish(self) -> set[Mutant]:
        """Wait for all, and give the survivors."""
        while self.running:
            self._wait()
        return self.survived

    def _wait(self) -> None:
        for child, (mutant, limit) in list(self.running.items()):
            ended, status = os.waitpid(child, os.WNOHANG)
            if not ended and time.monotonic() > limit:
                os.killpg(child, signal.SIGKILL)
                ended, status = os.waitpid(child, 0)
            if ended:
                del self.running[child]
                if status == 0:
                    self.survived.add(mutant)
                return
        time.sleep(0.002)


def _pytest(replaced: "_Replaced", tests: Iterable[str], plugin: "_Plugin") -> int:
    os.chdir(replaced.target.root)
    sys.meta_path.insert(0, replaced)
    return int(pytest.main([*_OPTIONS, *tests], plugins=[plugin]))


def _try_anew(target: Target, mutant: Mutant, names: Sequence[str]) -> int:
    replaced = _Replaced(target, mutant.source)
    return _pytest(replaced, dict.fromkeys(name.partition("::")[0] for name in names), _Chosen(names))


def _watch_and_try(target: Target, mutants: Sequence[Mutant], jobs: int, found: Path) -> int:
    plugin = _Loaded(target, mutants, jobs, found)
    return _pytest(_Replaced(target, _noting(target.source), plugin.noted), target.tests, plugin)


class _Replaced(MetaPathFinder, Loader):
    """Imports a module from another text than that of its file."""

    def __init__(self, target: Target, source: str | ast.Module, noted: set[int] | None = None) -> None:
        self.target = target
        self.source = source
        self.noted = noted

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        del path, target
        return spec_from_loader(fullname, self, origin=self.target.file) if fullname == self.target.name else None

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self.target.file
        module.__dict__["__noted__"] = self.noted
        exec(compile(self.source, self.target.file, "exec"), module.__dict__)


class _Plugin:
    """Has hypothesis look for examples, not for small ones; the same each time."""

    def pytest_configure(self) -> None:
        quick = settings(max_examples=50, deadline=None, derandomize=True, database=None)
        settings.register_profile(
            "mutants", quick, phases=(Phase.explicit, Phase.generate), suppress_health_check=[*HealthCheck]
        )
        settings.load_profile("mutants")


class _Chosen(_Plugin):
    """Runs just these tests, in this order."""

    def __init__(self, names: Sequence[str]) -> None:
        self.places = {name: place for place, name in enumerate(names)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self.places), key=lambda it: self.places[it.nodeid])


@define(eq=False)
class _Loaded(_Plugin):
    """Watches the tests, and then tries mutants of functions, in copies of the process that has collected the tests."""

    target: Target
    mutants: Sequence[Mutant]
    jobs: int
    found: Path
    noted: set[int] = field(factory=set)
    tests: dict[str, _Noticed] = field(factory=dict)
    failed: str = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = f"{report.nodeid}\n{report.longreprtext}"

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        at_import = frozenset(self.noted)
        session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # one for all
        watcher = _fork(lambda: self._watch(session), self.found)
        if os.waitpid(watcher, 0)[1] != 0:
            session.shouldfail = self.found.read_text()
            raise session.Failed(session.shouldfail)
        imported = frozenset(name for name, module in [*sys.modules.items()] if not self.target.is_ours(module))
        base = _Baseline(pickle.loads(self.found.read_bytes()), at_import, imported)
        functions = _functions_of(self.target.file)
        items = {item.nodeid: item for item in session.items}
        gc.freeze()
        crew = _Crew(base, self.jobs)
        for mutant in self.mutants:
            if not base.is_run_at_import(mutant):
                chosen = [items[name] for name in base.for_mutant(mutant)]
                crew.take(mutant, partial(self._try, mutant, functions, chosen))
        self.found.write_bytes(pickle.dumps((base, crew.finish())))
        return True

    def _watch(self, session: pytest.Session) -> int:
        # What an earlier test has left in a cache, a later one doesn't run.
        caches = [thing for thing in vars(sys.modules[self.target.name]).values() if hasattr(thing, "cache_clear")]
        for item, following in zip(session.items, [*session.items[1:], None], strict=True):
            for cache in caches:
                cache.cache_clear()
            self.noted.clear()
            start = time.perf_counter()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self.tests[item.nodeid] = _Noticed(time.perf_counter() - start, frozenset(self.noted))
            if self.failed:
                sys.stdout.write(self.failed)
                sys.stdout.flush()
                return 1
        self.found.write_bytes(pickle.dumps(self.tests))
        return 0

    def _try(self, mutant: Mutant, functions: "_Functions", items: Sequence[pytest.Item]) -> int:
        old, new = _changed_function(self.target, mutant)
        for function in functions.get((old.co_qualname, old.co_firstlineno), []):
            function.__code__ = new
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return 1
        return 0


def _noting(source: str) -> ast.Module:
    """Have a module note the line of each statement in `__noted__` when it is run."""
    tree = ast.parse(source)
    for node in list(ast.walk(tree)):
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, name, [*itertools.chain.from_iterable(map(_noted, value))])
    return ast.fix_missing_locations(tree)


def _noted(statement: ast.stmt) -> Iterator[ast.stmt]:
    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
        note = ast.parse(f"__noted__.add({statement.lineno})").body[0]
        yield ast.copy_location(note, statement)
    yield statement


_Functions = dict[tuple[str, int], list[FunctionType]]


def _functions_of(file: str) -> _Functions:
    functions: _Functions = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename == file:
            functions.setdefault((thing.__code__.co_qualname, thing.__code__.co_firstlineno), []).append(thing)
    return functions


def _changed_function(target: Target, mutant: Mutant) -> tuple[CodeType, CodeType]:
    """Give the code of the outermost function that the mutant is in, as it is and as it becomes."""
    both = [compile(source, target.file, "exec") for source in (target.source, mutant.source)]
    while True:
        inner = zip(*([const for const in code.co_consts if isinstance(const, CodeType)] for code in both), strict=True)
        both = next([old, new] for old, new in inner if mutant.lines.start in _lines_of(old))
        if both[0].co_flags & inspect.CO_OPTIMIZED:  # no body of a class
            return both[0], both[1]


def _lines_of(code: CodeType) -> range:
    lines = [line for _, _, line in code.co_lines() if line]
    inner = [_lines_of(const) for const in code.co_consts if isinstance(const, CodeType)]
    return range(code.co_firstlineno, max([*lines, *(lines.stop - 1 for lines in inner)]) + 1)
