"""What becomes of a job that is killed, damaged or out of disk: the table of docs/reliability.md."""
