"""The HTML page with the tables and figures of all results, made from stored runs. No edit or metric is recomputed.

A section is a function. It takes a :class:`~eval.report.study.Study` (the runs of one benchmark) and the
:class:`~eval.report.page.Page`. It returns a :class:`~eval.report.section.Section`, or raises
:class:`~eval.report.section.Missing` with the line that the page prints instead. To add a section, write the function
and name it under ``sections`` in ``conf/report.yaml``, or pass ``+sections.<name>=<dotted path>`` for a function of any
package.
"""
