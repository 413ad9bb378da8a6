"""Ids are drawn apart by whoever draws them."""

import subprocess
import sys

FORKS = """
import os
from hive_daemon.ids import new_node_id
for _ in range(2):
    if os.fork() == 0:
        os.write(1, new_node_id().encode() + b"\\n")
        os._exit(0)
    os.wait()
print(new_node_id(), flush=True)
"""


def test_forked_processes_draw_other_ids_than_their_parent_and_siblings():
    drawn = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, check=True).stdout
    assert len(set(drawn.split())) == 3
