"""`python -m textcl`, also under `accelerate launch -m`."""

from textcl.cli import main

if __name__ == "__main__":
    main()
