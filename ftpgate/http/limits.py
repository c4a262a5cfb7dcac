"""What an HTTP connection may take: time, and room in the kernel."""

from __future__ import annotations

HEADER_TIMEOUT = 20.0
"""Seconds for a request head to arrive, from its first byte on, or the end of the last response when that came later; and for a
new connection to send anything. Empty lines count as its beginning."""
IDLE_TIMEOUT = 75.0
"""Seconds that a kept-alive connection may wait for its next request."""
UNPROVEN_TIMEOUT = 5.0
"""The same while the last body is not known to have been read. When we end the connection the client does too, which tells."""
DRAIN_TIMEOUT = 1.0
"""The same when the process is about to end; a request that comes within it is told so."""
SUCCEEDED_TIMEOUT = 5.0
"""The same when another process takes new clients: a request that comes within it is served, and ends the connection."""
SEND_TIMEOUT = 60.0
"""Seconds in which a page, or the header of an answer, has to move on. Transfers have the engine's own clock."""
LINGER_TIMEOUT = 10.0
"""Seconds that the client has to take the last answer and to end."""
LINGER_BYTES = 64 * 1024 * 1024
"""What a client may still send after its last answer, read and thrown away: closing with unread bytes would make the
kernel reset the connection, and the client would never see the answer."""
UNSETTLED_TIMEOUT = 5.0
"""Seconds that it waits; then the connection ends in order, and the client may ask for the rest on another one."""
RECEIVE_BUFFER = 32_768
"""Bytes that the kernel keeps of requests while none is read, doubled for its own needs. Left to itself it keeps megabytes."""
COUNTING_CLOSE_NOTIFY_DELAY = 1.5
"""Seconds before our close_notify, where the client knows where to end, and is to go first."""
