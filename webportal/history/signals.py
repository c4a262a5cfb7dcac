from django.dispatch import Signal

delivered = Signal()
"""Sent after the commit that recorded completions, with `completions`: a list of `webportal.history.models.Completion`.

The sender is the `Completion` class. It is sent in the process that recorded them, which is a gate as a rule, and a
receiver's error does not undo the completion. What must never be missed belongs in a table read from `Completion`.
"""
