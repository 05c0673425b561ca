"""``python -m sivae_translate`` is the command ``sivae-translate``."""

from sivae_translate.cli import main

if __name__ == "__main__":
    main()
