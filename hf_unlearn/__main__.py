"""`python -m hf_unlearn …`, and `torchrun -m hf_unlearn …` where several processes share the work."""

from hf_unlearn.cli import main


if __name__ == "__main__":
    main()
