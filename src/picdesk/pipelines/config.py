"""The former name of `picdesk.assembly.schema`."""

from picdesk.assembly.schema import *  # noqa: F403
