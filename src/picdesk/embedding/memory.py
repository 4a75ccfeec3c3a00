"""Keep freed memory for the next batch, instead of giving it back to the system and asking for it again."""

import ctypes
import sys
from functools import cache

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to serve large blocks from its heap and not to shrink it; False where the C library is another one.

    Each activation of a trunk is tens of megabytes. By default every one is a fresh mapping whose pages fault in one by one,
    which took more than half of the time of an EfficientNet forward pass (39 against 18 ms of processor time a picture).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    wanted = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 1 << 26))
    taken = [mallopt(option, value) == 1 for option, value in wanted]  # a list: every option is to be set
    return all(taken)
