"""In which number formats the weights of a language model are stored."""
