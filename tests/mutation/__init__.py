"""Would the tests notice? Each module that decides about security is broken on purpose, in one place at a time.

`python -m tests.mutation` breaks them (`--help`), `survivors.toml` explains which breakages no test can notice.
"""
