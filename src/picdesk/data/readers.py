"""The former name of `picdesk.readers`."""

from picdesk.readers import __getattr__ as __getattr__
