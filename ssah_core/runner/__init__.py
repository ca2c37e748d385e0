"""Runs the numbered notebooks headlessly: parameters in, executed notebooks, figures, records and a report out."""
