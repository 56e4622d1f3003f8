"""`python -m headwater`: the command line of the checkout that it is started in."""

from headwater.cli import main

if __name__ == "__main__":
    main()
