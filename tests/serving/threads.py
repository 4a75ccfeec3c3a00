"""A desk behind a real socket, in a thread of this process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from picdesk.serving.app import application
from picdesk.serving.desk import Desk
from picdesk.serving.process import config_of, listen
from picdesk.serving.server_settings import Limits


@contextmanager
def serving_in_a_thread(desk: Desk) -> Iterator[str]:
    """The address of a server that answers until the block ends."""
    listening = listen(Limits(port=0))
    server = uvicorn.Server(config_of(desk, application(desk)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
