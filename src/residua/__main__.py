"""`python -m residua` and the command `residua`."""

from residua.commands.line import main

if __name__ == "__main__":
    main()
