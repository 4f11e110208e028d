"""The page of all results, its tables and figures, made from what runs left on disk; nothing is computed again.

A section is one function in a file of its own: it takes a :class:`~eval.report.study.Study` (the runs of one benchmark)
and the :class:`~eval.report.page.Page`, and returns a :class:`~eval.report.section.Section`, or raises
:class:`~eval.report.section.Missing` with the one line that the page prints in its place. To add one, write the
function and name it under ``sections`` in ``conf/report.yaml``, or ``+sections.<name>=<dotted path>`` from any package.
"""
