"""Code that all problems on a language model share: loading, texts, statistics, measuring, export."""
