"""Spaces other than vectors (:class:`evoprune.Genes`), a file each; setup.cfg registers them."""
