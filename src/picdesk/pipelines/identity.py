"""The former name of `picdesk.jobs.identity`."""

from picdesk.jobs.identity import *  # noqa: F403
