"""What `picdesk COMMAND` runs beside the tasks: the doors' hinge, store, pack, check-submission."""
