"""The dashboard: a web server that shows a spool, and acts on it if it may.

Two processes: the server, and a child that counts (counter). Pages are made here, whole;
a script in the browser asks for them again when something has changed.

Promises
    Nobody is let in from elsewhere without the password, and nothing is changed without --allow-actions.
    Every page answers soon, however many jobs there are; nothing is kept for each of them.
Leaves to others
    words on the command line (cli.dashboard).
Raises
    Wrong, QueuectlError when it cannot listen; ImportError without the extra `web`.
"""
