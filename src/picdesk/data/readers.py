"""The former name of `picdesk.readers`."""

from picdesk.readers import *  # noqa: F403
