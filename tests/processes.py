"""The scripts of launch/, each in a process of its own, as a user starts them: `run("train.py", *flags)`.

Importing jax and the library takes a process 3 s. So one process imports them, without starting a backend,
and each command runs in a fork of it, which takes the command's folder, environment, arguments and outputs.
"""

import atexit
import contextlib
import functools
import gc
import json
import os
import platform
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

import jaxlib.version

# XLA's older emitters of fused loops. jaxlib 0.11 has them no more, and ends a process that names the flag.
OLDER_EMITTERS = (
    " --xla_cpu_use_fusion_emitters=false" if jaxlib.version.__version_info__[:2] < (0, 11) else ""
)
# Most of a test's time is compilation, of programs that run once. The older emitters take half the time of
# the newer ones: 5 s instead of 12 s for a training step. They round a * b - c once where the processor can,
# so that equal terms may differ by a rounding; SSE4.2 cannot. One module of LLVM instead of 32, and
# instructions in the order that saves memory, save another tenth.
QUICK = (
    " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    + OLDER_EMITTERS
    + " --xla_cpu_parallel_codegen_split_count=1 --xla_cpu_enable_concurrency_optimized_scheduler=false"
) + (" --xla_cpu_max_isa=SSE4_2" if platform.machine() == "x86_64" else "")
ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "launch"
SECONDS = 300


def run(script, *flags, cwd=ROOT, meanwhile=lambda pid: None, **env):
    """A `subprocess.CompletedProcess`; `script` is a path or a name in launch/, `env` is added to our own.

    `meanwhile` is called with the number of the process while that runs.
    """
    server = _server()
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, name) for name in ("stdout", "stderr")]
        request = {
            "argv": [str(LAUNCH / script), *map(str, flags)], "cwd": str(cwd),
            "env": {**os.environ, "XLA_FLAGS": os.environ["XLA_FLAGS"] + QUICK, **env},
            "said": list(map(str, said)),
        }  # fmt: skip
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        pid = server.stdout.readline()
        assert pid, "The process that runs the commands has ended."
        try:
            meanwhile(int(pid))
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
            raise
        finally:
            answer = server.stdout.readline()
        return subprocess.CompletedProcess(
            request["argv"], int(answer), *(path.read_text(encoding="utf-8") for path in said)
        )


@functools.cache
def _server():
    """Ends with this process, which closes its standard input."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", __file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)


def _serve():
    """Fork for each request; answer with the fork's number and, at its end, its exit status.

    Returns, with its request, in the fork alone.
    """
    gc.freeze()  # a collection in a fork would copy all pages
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            return request
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    raise SystemExit


def _become(request):
    """The process that `python SCRIPT FLAGS` would be, whatever signals the tests' own process ignores."""
    signal.alarm(SECONDS)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for number, path in enumerate([os.devnull, *request["said"]]):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    paths = filter(None, request["env"].get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:2] = [str(Path(sys.argv[0]).parent), *(str(Path(path).resolve()) for path in paths)]


def _run_and_exit():
    """The end of a process without its last step: to free what lies in shared pages takes seconds."""
    status = 1
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as stopped:
        status = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
        if isinstance(stopped.code, str):
            print(stopped.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    # what the scripts import; most of it is not used here
    import ml_collections.config_flags  # noqa: F401
    import tensorboardX  # noqa: F401

    import smdsb_jax.analysis.laboratory
    import smdsb_jax.report.summary
    import smdsb_jax.run.loop
    import smdsb_jax.sweep.loop  # noqa: F401

    _become(_serve())
    _run_and_exit()
