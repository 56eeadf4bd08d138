"""``python -m animus3d_cli`` is the same program as ``animus3d``."""

from animus3d_cli.main import main

if __name__ == "__main__":
    main()
