"""One contender of speed.py: ``python contender.py BUILDER.py SPECIFICATION`` builds a step and runs it when told to.

Only the standard library is imported here, so that a contender that needs no MXNet does not load it.
"""

import importlib.util
import json
import os
import resource
import sys
import time


def resident():
    """MiB of memory in use now."""
    with open("/proc/self/statm") as handle:
        return int(handle.read().split()[1]) * resource.getpagesize() / 2**20


def build(path, specification):
    """The step of the builder's ``build(specification)``: it returns when the work is done."""
    spec = importlib.util.spec_from_file_location("builder", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["builder"] = module  # where torch.compile looks for what it compiles
    spec.loader.exec_module(module)
    return module.build(specification)


def main():
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print does not get between the replies
    specification = json.loads(sys.argv[2])
    step = build(sys.argv[1], specification)
    before = resident()
    for _ in range(specification["warm_up"]):
        step()
    replies.write(json.dumps({"ready": True}) + "\n")
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        replies.write(json.dumps({"seconds": seconds, "peak_mib": peak - before}) + "\n")


if __name__ == "__main__":
    main()
