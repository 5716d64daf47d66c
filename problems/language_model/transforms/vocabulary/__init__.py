"""The vocabulary as a transform: the tokens that stay, and tokenizers and configs cut to them."""
