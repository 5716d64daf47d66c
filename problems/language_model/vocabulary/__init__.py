"""The transform ``vocabulary``: the remaining tokens, and tokenizers and configs reduced to them."""
