"""`python -m tokenloom.cli`."""

from tokenloom.cli import main

if __name__ == "__main__":
    main()
