"""The former name of `picdesk.readers.queries`."""

from picdesk.readers.queries import *  # noqa: F403
