"""The cut in heads: removes heads of attentions."""
