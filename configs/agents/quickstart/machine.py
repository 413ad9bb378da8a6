"""What the timer of the quickstart agent reports: disk, memory and load of this machine."""

import os
import shutil


def look():
    """Return how full the disk is, the load per processor, and the memory left where the system tells."""
    disk = shutil.disk_usage("/")
    one, five, fifteen = os.getloadavg()
    processors = os.cpu_count() or 1
    return {
        "disk_free_gib": round(disk.free / 2**30, 1),
        "disk_used_percent": round(100 * disk.used / disk.total, 1),
        "load": [round(one, 2), round(five, 2), round(fifteen, 2)],
        "load_per_processor": round(one / processors, 2),
        "memory_available_mib": memory_available(),
    }


def memory_available():
    """Return MemAvailable in MiB, None where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            found = next((line for line in lines if line.startswith("MemAvailable:")), None)
    except OSError:
        return None
    return int(found.split()[1]) // 1024 if found else None
