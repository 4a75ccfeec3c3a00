"""What happens to a process: signals, children, full disks and other faults of the machine, files left unfinished."""
